#include "cuda/runtime/driver_advice.h"

#include <cstdlib>

namespace fa::cuda {

namespace {

/** CUDA Toolkit Release Notes, "CUDA Toolkit and Corresponding Driver Versions", Linux. */
constexpr struct {
  int cuda;
  const char* driver;
} kDrivers[] = {
    {12000, "525.60.13"}, {12010, "530.30.02"}, {12020, "535.54.03"}, {12030, "545.23.06"},
    {12040, "550.54.14"}, {12050, "555.42.02"}, {12060, "560.28.03"}, {12080, "570.26"},
    {12090, "575.51.03"}, {13000, "580.65.06"},
};

constexpr int kCompressedSince = 12080;  // machine code, by nvcc (cmake/cuda.cmake)
constexpr int kUnpackedSince = 12040;    // by drivers

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

/** The oldest driver that supports a version of CUDA. */
std::string driver_of(int version) {
  for (const auto& known : kDrivers)
    if (version <= known.cuda) return std::string("NVIDIA driver ") + known.driver + " or newer";
  return "an NVIDIA driver that supports CUDA " + version_text(version);
}

/**
 * The oldest CUDA whose drivers run machine code of a toolkit: any of the same major version
 * (https://docs.nvidia.com/deploy/cuda-compatibility), where it need not be unpacked.
 */
int oldest_for_machine_code(int built) {
  const int major = built / 1000 * 1000;
  return major == 12000 && built >= kCompressedSince ? kUnpackedSince : major;
}

std::string installed(const CudaVersions& versions) {
  return "the NVIDIA driver is too old: it supports CUDA " + version_text(versions.driver);
}

std::string code(cudaError_t status) {
  return std::string(" (") + cudaGetErrorName(status) + ", " + cudaGetErrorString(status) + ")";
}

}  // namespace

CudaVersions CudaVersions::here() {
  CudaVersions versions{0, CUDART_VERSION};
  cudaDriverGetVersion(&versions.driver);
  cudaGetLastError();
  return versions;
}

std::string why_no_device(cudaError_t status, const CudaVersions& versions) {
  const std::string needed = driver_of(oldest_for_machine_code(versions.built));
  if (status == cudaErrorInsufficientDriver && versions.driver == 0) {
    return "no NVIDIA driver is installed here: libcuda.so.1 was not found. This build needs " +
           needed + "; in a container, start it with the NVIDIA container toolkit";
  }
  if (status == cudaErrorInsufficientDriver) {
    return installed(versions) + ", this build is made with CUDA " + version_text(versions.built) +
           " and needs " + needed;
  }
  if (status == cudaErrorNoDevice) {
    const char* const visible = std::getenv("CUDA_VISIBLE_DEVICES");
    return "the NVIDIA driver shows no GPU" +
           (visible != nullptr ? std::string(": CUDA_VISIBLE_DEVICES is '") + visible + "'"
                               : std::string(" (nvidia-smi should list one)"));
  }
  if (status == cudaErrorStubLibrary) {
    return "the libcuda.so.1 that was found is the toolkit's stub; take its folder out of "
           "LD_LIBRARY_PATH" +
           code(status);
  }
  if (status == cudaErrorSystemDriverMismatch) {
    return "the NVIDIA kernel module and libcuda.so.1 are of different versions; a reboot after "
           "the driver's update helps" +
           code(status);
  }
  if (status == cudaErrorSystemNotReady) {
    return "the GPUs are not ready; on machines with NVSwitch the fabric manager must run" +
           code(status);
  }
  return "the CUDA runtime cannot start" + code(status);
}

std::string why_no_kernel(cudaError_t status, const CudaVersions& versions,
                          const std::string& capability) {
  // PTX is compiled by the driver, which has to know the version of the toolkit that wrote it.
  if (status == cudaErrorUnsupportedPtxVersion) {
    return "this build has no machine code for " + capability + ", and " + installed(versions) +
           ", while the PTX of this build is made with CUDA " + version_text(versions.built) +
           " and needs " + driver_of(versions.built);
  }
  if (status == cudaErrorNoKernelImageForDevice || status == cudaErrorInvalidDeviceFunction ||
      status == cudaErrorInvalidPtx) {
    const int oldest = oldest_for_machine_code(versions.built);
    if (versions.driver != 0 && versions.driver < oldest)
      return installed(versions) + ", the machine code of this build needs " + driver_of(oldest);
    return "this build has no machine code or PTX for " + capability;
  }
  return why_no_device(status, versions);
}

}  // namespace fa::cuda
