# Gives csrc/binding/windows/node_api.cpp the names of all functions of Node-API.
list(GET NODE_API_INCLUDE_DIRS 0 headers)
file(STRINGS "${headers}/../def/node_api.def" names REGEX "^(napi|node_api)_")
list(TRANSFORM names REPLACE "(.+)" "FA_NODE_API(\\1)\n")
string(CONCAT names ${names})
file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/node_api_names.h" CONTENT "${names}" @ONLY)
target_include_directories(flash_attention PRIVATE "${PROJECT_BINARY_DIR}")
# Or calls would go to the functions themselves, which the linker cannot reach, and not through their addresses.
target_compile_definitions(flash_attention PRIVATE "NAPI_EXTERN=__declspec(dllimport)")
target_sources(flash_attention PRIVATE csrc/binding/windows/node_api.cpp)
