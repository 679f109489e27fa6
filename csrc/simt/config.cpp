#include "simt/config.h"

#include <cstdlib>
#include <cstring>

namespace simt {

Config Config::from_seed(uint64_t seed) {
  Config config;
  config.seed = seed;
  config.policy = static_cast<Policy>((seed + 1) % 3);
  config.delivery = static_cast<Delivery>(seed / 3 % 3);
  config.resident_blocks = 1 + static_cast<int>(seed % 2);
  return config;
}

Config Config::from_environment(uint64_t launch) {
  const char* seed = std::getenv("FLASH_ATTENTION_SIMT_SEED");
  const char* check = std::getenv("FLASH_ATTENTION_SIMT_CHECK");
  Config config = from_seed((seed ? std::strtoull(seed, nullptr, 10) : 0) + launch);
  config.check_races = !(check && std::strcmp(check, "off") == 0);
  return config;
}

}  // namespace simt
