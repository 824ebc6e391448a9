// What we use of DLPack (dlpack.h 1.3, https://dmlc.github.io/dlpack): where a tensor lies and how it is laid out, in
// 50 ns. A library has the exchange API in a capsule, its array type's __dlpack_c_exchange_api__; torch 2.13 does.
#pragma once

#include <cstdint>

namespace loopnest::dlpack {

constexpr std::int32_t cpu = 1;                    // a device's type
constexpr std::uint8_t signed_ = 0, floating = 2;  // a dtype's code
constexpr std::uint32_t major_version = 1;         // within it, structures only grow at their end

struct Version {
    std::uint32_t major, minor;
};

struct Tensor {
    void* data;
    struct {
        std::int32_t type, id;
    } device;
    std::int32_t axes;
    struct {
        std::uint8_t code, bits;
        std::uint16_t lanes;
    } dtype;
    std::int64_t* shape;
    std::int64_t* strides;  // in elements
    std::uint64_t byte_offset;
};

struct ManagedTensor {  // DLManagedTensorVersioned
    Version version;
    void* owner;
    void (*deleter)(ManagedTensor*);
    std::uint64_t flags;
    Tensor tensor;
};

struct ExchangeApi {
    Version version;
    ExchangeApi* older;
    void* allocate;
    void* managed_from_object;
    int (*object_from_managed)(ManagedTensor*, void** object);  // these two: 0, or -1 with a Python error set
    int (*tensor_from_object)(void* object, Tensor*);           // a view, valid while the object lives unchanged
    void* current_stream;
};
constexpr const char* capsule_name = "dlpack_exchange_api";

}  // namespace loopnest::dlpack
