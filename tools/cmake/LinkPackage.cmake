# cmake -DFROM=python/bitnet_py -DTO=build/<preset>/python/bitnet_py -P LinkPackage.cmake
# Makes TO a package that can be imported: a link to each source in FROM, beside the modules that were built there.
# Looks at the folder in every build, so that a new or a deleted file needs no list and no new configure.
cmake_minimum_required(VERSION 3.20)
file(GLOB entries RELATIVE ${FROM} ${FROM}/*)
list(FILTER entries EXCLUDE REGEX "^__pycache__$|\\.so$")
file(MAKE_DIRECTORY ${TO})
foreach(entry IN LISTS entries)
  file(CREATE_LINK ${FROM}/${entry} ${TO}/${entry} SYMBOLIC)
endforeach()

file(GLOB links RELATIVE ${TO} ${TO}/*)
list(FILTER links EXCLUDE REGEX "^__pycache__$|\\.so$|^bin$")
foreach(link IN LISTS links)
  if(NOT link IN_LIST entries)
    file(REMOVE ${TO}/${link})
  endif()
endforeach()
