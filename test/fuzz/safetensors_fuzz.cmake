if(TARGET bitnet_import)
  bitnet_fuzz(safetensors_fuzz
    SOURCES safetensors_fuzz.cpp
    USES bitnet_import
    LIBS bitnet_mlir)
endif()
