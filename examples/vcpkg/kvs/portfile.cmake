set(VCPKG_BUILD_TYPE release) # header-only library

# The sources that this port lies in. A port of a release has vcpkg_from_github here, or the like.
get_filename_component(SOURCE_PATH "${CURRENT_PORT_DIR}/../../.." ABSOLUTE)

vcpkg_cmake_configure(
    SOURCE_PATH "${SOURCE_PATH}"
    OPTIONS
        -DKVS_BUILD_TESTS=OFF
        -DKVS_BUILD_EXAMPLES=OFF
)
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(CONFIG_PATH share/cmake/kvs)

vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
