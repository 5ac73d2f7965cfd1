# How our targets are made. One library per layer, warnings as errors for our
# own code only, sanitizers for all of it.

add_library(vrampool_options INTERFACE)
target_include_directories(vrampool_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(vrampool_options INTERFACE
  -Wall -Wextra -Wconversion -Wshadow $<$<BOOL:${VRAMPOOL_WERROR}>:-Werror>
  $<$<COMPILE_LANG_AND_ID:CXX,Clang>:-Wthread-safety -Wthread-safety-beta>)
target_compile_definitions(vrampool_options INTERFACE
  VRAMPOOL_VERSION="${PROJECT_VERSION}")

if(VRAMPOOL_SANITIZE)
  add_compile_options(-fsanitize=${VRAMPOOL_SANITIZE} -fno-omit-frame-pointer
                      -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${VRAMPOOL_SANITIZE})
  add_compile_definitions(VRAMPOOL_SANITIZED=1)
endif()

# The fuzzer sees which code an input reaches only where that is instrumented.
if(VRAMPOOL_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# vrampool_library(NAME [SOURCES file...] [DEPENDS target...])
# A static library of our own code; with no sources, a header-only one.
function(vrampool_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  if(ARG_SOURCES)
    add_library(${name} STATIC ${ARG_SOURCES})
    target_link_libraries(${name} PUBLIC ${ARG_DEPENDS} PRIVATE vrampool_options)
    target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
  else()
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE ${ARG_DEPENDS})
    target_include_directories(${name} INTERFACE ${PROJECT_SOURCE_DIR})
  endif()
endfunction()

# vrampool_test(NAME LABEL label SOURCES file... [DEPENDS target...] [ENV VAR=value...])
# One GoogleTest executable, registered as one ctest entry with the label
# (unit, service, integration, conformance, stress).
function(vrampool_test name)
  cmake_parse_arguments(ARG "" "LABEL;TIMEOUT" "SOURCES;DEPENDS;ENV" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_DEPENDS} vrampool_options
                        GTest::gmock GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  set_tests_properties(${name} PROPERTIES LABELS ${ARG_LABEL}
                       TIMEOUT ${ARG_TIMEOUT} ENVIRONMENT "${ARG_ENV}")
endfunction()
