# cmake -DOUT=header -DFILES=a;b;... -DHALIDE=library -P generators_version.cmake
# Writes the version of the kernel generators: a hash of every file that can change a kernel's bytes, and of Halide.
# The kernel cache's keys contain it, so an entry that another generator made is never found.
set(all "")
foreach(file IN LISTS FILES)
  file(SHA256 ${file} hash)
  string(APPEND all "${hash}\n")
endforeach()
file(SIZE ${HALIDE} halide_size)
string(SHA256 version "${all}${halide_size}")
string(SUBSTRING ${version} 0 16 version)
file(WRITE ${OUT} "#pragma once\n#define BITNET_GENERATORS_VERSION \"${version}\"\n")
