bitnet_fuzz(bundle_fuzz
  SOURCES bundle_fuzz.cpp
  USES bitnet_tiny_bundle bitnet_bundle)
