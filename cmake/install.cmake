# What `cmake --install` puts where, under any prefix:
#
#   bin/vrampoold bin/vrampool              daemon and command line
#   lib/libvrampool.so* libvrampool-rpc.so  client library and its RPC module
#   include/vrampool/                       public headers
#   lib/cmake/vrampool/ lib/pkgconfig/      find_package(vrampool), vrampool.pc
#   lib/systemd/system/ lib/sysusers.d/     unit and its user
#   share/doc/vrampool/                     licence, examples of configuration
include(CMakePackageConfigHelpers)

install(TARGETS vrampoold vrampool_cli RUNTIME)
install(TARGETS vrampool EXPORT vrampool LIBRARY)
install(TARGETS vrampool_rpc LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY client/include/vrampool TYPE INCLUDE
        FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/vrampool)
install(EXPORT vrampool NAMESPACE vrampool:: FILE vrampoolTargets.cmake
        DESTINATION ${package_dir})
configure_package_config_file(cmake/vrampoolConfig.cmake.in
  ${CMAKE_CURRENT_BINARY_DIR}/vrampoolConfig.cmake
  INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(
  ${CMAKE_CURRENT_BINARY_DIR}/vrampoolConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/vrampoolConfig.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/vrampoolConfigVersion.cmake
        DESTINATION ${package_dir})

# Paths relative to the file itself, so that a tree may be moved.
file(RELATIVE_PATH pc_to_prefix /x/${CMAKE_INSTALL_LIBDIR}/pkgconfig /x)
configure_file(cmake/vrampool.pc.in ${CMAKE_CURRENT_BINARY_DIR}/vrampool.pc
               @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/vrampool.pc
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# The unit names the daemon by its absolute path, which is known only when the
# prefix is: at installation. systemd looks in PREFIX/lib, whatever LIBDIR is.
install(CODE "
  file(READ \"${CMAKE_CURRENT_SOURCE_DIR}/deploy/systemd/vrampoold@.service\" unit)
  string(REPLACE \"=/usr/bin/\"
         \"=\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}/\" unit \"\${unit}\")
  file(WRITE \"${CMAKE_CURRENT_BINARY_DIR}/installed-unit/vrampoold@.service\"
       \"\${unit}\")")
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/installed-unit/vrampoold@.service
        DESTINATION lib/systemd/system)
install(FILES deploy/systemd/vrampool.sysusers DESTINATION lib/sysusers.d
        RENAME vrampool.conf)
install(FILES LICENSE TYPE DOC)
install(DIRECTORY deploy/examples TYPE DOC FILES_MATCHING PATTERN "*.textproto")
