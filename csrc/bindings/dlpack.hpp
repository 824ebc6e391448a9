// What is used here of DLPack, the C interface by which array libraries hand each other their memory: where a tensor of
// torch's lies and how it is laid out, in 50 ns, where its own methods take as long or longer for each answer.
//
// The structures are from dlpack.h, version 1.3 (https://dmlc.github.io/dlpack). A library has its exchange API in
// a capsule, the attribute __dlpack_c_exchange_api__ of its array type; torch 2.13 is one.
#pragma once

#include <cstdint>

namespace loopnest::dlpack {

struct Version {
    std::uint32_t major, minor;
};

struct Device {
    std::int32_t type, id;
};
constexpr std::int32_t cpu = 1;  // a Device's type

struct DataType {
    std::uint8_t code, bits;
    std::uint16_t lanes;
};
constexpr std::uint8_t signed_ = 0, floating = 2;  // a DataType's code

struct Tensor {
    void* data;
    Device device;
    std::int32_t axes;
    DataType dtype;
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
constexpr std::uint32_t major_version = 1;  // within which structures only grow at their end

}  // namespace loopnest::dlpack
