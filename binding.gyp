{
  # CMakeLists.txt describes the build; this target only starts it. Its output is never created, so
  # every node-gyp run asks CMake, which knows what is stale.
  "targets": [{
    "target_name": "flash_attention",
    "type": "none",
    "actions": [{
      "action_name": "cmake_js",
      "message": "Building with CMake",
      "inputs": ["CMakeLists.txt"],
      "outputs": ["<(INTERMEDIATE_DIR)/always"],
      "action": ["node", "scripts/cmake-build.cjs", "<(CONFIGURATION_NAME)"]
    }]
  }]
}
