if(TARGET bitnet_import)
  bitnet_fuzz(gguf_fuzz
    SOURCES gguf_fuzz.cpp
    USES bitnet_import
    LIBS bitnet_mlir)
endif()
