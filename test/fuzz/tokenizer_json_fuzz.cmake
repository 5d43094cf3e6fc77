if(TARGET bitnet_tokenizer_import)
  bitnet_fuzz(tokenizer_json_fuzz
    SOURCES tokenizer_json_fuzz.cpp
    USES bitnet_tokenizer bitnet_tokenizer_import
    LIBS bitnet_mlir)
endif()
