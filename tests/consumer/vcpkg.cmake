# The port of vcpkg, with stand-ins for the functions that it calls: build_port(PREFIX) makes its package in PREFIX.
# Uses `run`, `build_with`, BINARY and KVS of build_project.cmake.

function(vcpkg_cmake_configure)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" SOURCE_PATH OPTIONS)
  file(REMOVE_RECURSE "${BINARY}/kvs")
  run("${CMAKE_COMMAND}" -S "${arg_SOURCE_PATH}" -B "${BINARY}/kvs" ${build_with} ${arg_OPTIONS})
endfunction()

function(vcpkg_cmake_install)
  run("${CMAKE_COMMAND}" --install "${BINARY}/kvs" --prefix "${CURRENT_PACKAGES_DIR}")
endfunction()

# Moves the package to share/PORT, one directory less deep.
function(vcpkg_cmake_config_fixup)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" CONFIG_PATH "")
  file(RENAME "${CURRENT_PACKAGES_DIR}/${arg_CONFIG_PATH}" "${CURRENT_PACKAGES_DIR}/share/${PORT}")
  set(up "get_filename_component(_IMPORT_PREFIX \"\${_IMPORT_PREFIX}\" PATH)\n")
  set(targets "${CURRENT_PACKAGES_DIR}/share/${PORT}/kvsTargets.cmake")
  file(READ "${targets}" text)
  string(REPLACE "${up}${up}${up}" "${up}${up}" text "${text}")
  file(WRITE "${targets}" "${text}")
  # It is empty now; vcpkg does not accept that.
  get_filename_component(parent "${CURRENT_PACKAGES_DIR}/${arg_CONFIG_PATH}" DIRECTORY)
  file(REMOVE_RECURSE "${parent}")
endfunction()

function(vcpkg_install_copyright)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "" FILE_LIST)
  configure_file("${arg_FILE_LIST}" "${CURRENT_PACKAGES_DIR}/share/${PORT}/copyright" COPYONLY)
endfunction()

function(build_port prefix)
  set(PORT kvs)
  set(CURRENT_PORT_DIR "${KVS}/examples/vcpkg/kvs")
  set(CURRENT_PACKAGES_DIR "${prefix}")
  include("${CURRENT_PORT_DIR}/portfile.cmake")
  foreach(file IN ITEMS kvsConfig.cmake copyright)
    if(NOT EXISTS "${prefix}/share/${PORT}/${file}")
      message(FATAL_ERROR "vcpkg wants ${file} in share/${PORT}")
    endif()
  endforeach()
endfunction()
