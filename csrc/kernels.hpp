// What the bindings know of the kernels: for each operation a list of rungs, a name and a function for each dtype.
#pragma once

#include "view.hpp"

namespace loopnest {

// The signatures. Results come last; a result's rows are contiguous, but for the parameters and states that an optimizer
// updates in place. Hyper-parameters stay double for float kernels too: 1 - 0.999f would be off by 5e-5.
template <class T>
using UnaryFn = void (*)(Matrix<const T> x, Matrix<T> y);
template <class T>
using BinaryFn = void (*)(Matrix<const T> a, Matrix<const T> b, Matrix<T> c);
template <class T>
using ByBlocksFn = void (*)(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, index rows, index inner, index cols);
template <class T>
using DotFn = void (*)(Vector<const T> x, Vector<const T> y, T* sum);
template <class T>
using SumFn = void (*)(Matrix<const T> a, T* sum);
template <class T>
using LinearFn = void (*)(Matrix<const T> x, Matrix<const T> w, Vector<const T> b, Matrix<T> y);
template <class T>
using GeluFn = void (*)(Matrix<const T> x, Matrix<T> y, bool tanh_form);
template <class T>
using GeluBackwardFn = void (*)(Matrix<const T> x, Matrix<const T> dy, Matrix<T> dx, bool tanh_form);
template <class T>
using MseFn = void (*)(Matrix<const T> y, Matrix<const T> t, T* loss);
template <class T>
using MseBackwardFn = void (*)(Matrix<const T> y, Matrix<const T> t, Matrix<T> dy, index count);
template <class T>
using CrossEntropyFn = void (*)(Matrix<const T> logits, Vector<const std::int64_t> labels, T* loss);
template <class T>
using CrossEntropyBackwardFn = void (*)(Matrix<const T> logits, Vector<const std::int64_t> labels, Matrix<T> dlogits);
template <class T>
using SgdFn = void (*)(Matrix<T> param, Matrix<const T> grad, double lr);
template <class T>
using MomentumFn = void (*)(Matrix<T> param, Matrix<const T> grad, Matrix<T> velocity, double lr, double mu);
template <class T>
using RmspropFn = void (*)(Matrix<T> param, Matrix<const T> grad, Matrix<T> square_average, double lr, double rho,
                           double eps);
template <class T>
using AdamFn = void (*)(Matrix<T> param, Matrix<const T> grad, Matrix<T> m, Matrix<T> v, double lr, double beta1,
                        double beta2, double eps, double correction1, double correction2, bool eps_inside);
template <class T>
using MlpForwardFn = void (*)(Matrix<const T> x, Matrix<const T> w1, Vector<const T> b1, Matrix<const T> w2,
                              Vector<const T> b2, Matrix<T> z, Matrix<T> h, Matrix<T> y, bool tanh_form);
template <class T>
using MlpBackwardFn = void (*)(Matrix<const T> dy, Matrix<const T> x, Matrix<const T> w1, Matrix<const T> w2,
                               Matrix<const T> z, Matrix<const T> h, Matrix<T> dx, Matrix<T> dw1, Vector<T> db1,
                               Matrix<T> dw2, Vector<T> db2, bool tanh_form);

// What the machine's limits are measured with (machine/limits.hpp).
template <class T>
using MultiplyAddFn = index (*)(Vector<T> values, index rounds);
template <class T>
using ReadFn = T (*)(Vector<const T> x, index passes);
template <class T>
using CopyFn = void (*)(Vector<const T> x, Vector<T> y, index passes);
template <class T>
using TriadFn = void (*)(Vector<const T> x, Vector<const T> y, Vector<T> z, index passes);

template <template <class> class Fn>
struct Rung {
    const char* name;
    Fn<float> f32;
    Fn<double> f64;
};

template <template <class> class Fn>
struct Rungs {
    const Rung<Fn>* first = nullptr;
    index count = 0;

    constexpr Rungs() = default;
    template <std::size_t n>
    constexpr Rungs(const Rung<Fn> (&rungs)[n]) : first(rungs), count(index(n)) {}
};

// One of these for each ISA level and each way of compiling (with and without vectorization).
struct Kernels {
    Rungs<BinaryFn> matmul;
    Rungs<ByBlocksFn> matmul_by_blocks;  // blocked with sizes of the caller's, for the block size sweep
    Rungs<DotFn> dot;
    Rungs<SumFn> sum;
    Rungs<BinaryFn> add;
    Rungs<UnaryFn> transpose;
    Rungs<LinearFn> linear;
    Rungs<UnaryFn> exp;  // no operation of its own: softmax's, here to be measured
    Rungs<UnaryFn> relu, sigmoid, tanh, softmax;
    Rungs<BinaryFn> relu_backward, sigmoid_backward, tanh_backward;
    Rungs<GeluFn> gelu;
    Rungs<GeluBackwardFn> gelu_backward;
    Rungs<MseFn> mse;
    Rungs<MseBackwardFn> mse_backward;
    Rungs<CrossEntropyFn> cross_entropy;
    Rungs<CrossEntropyBackwardFn> cross_entropy_backward;
    Rungs<SgdFn> sgd;
    Rungs<MomentumFn> momentum;
    Rungs<RmspropFn> rmsprop;
    Rungs<AdamFn> adam;
    Rungs<MlpForwardFn> mlp_forward;
    Rungs<MlpBackwardFn> mlp_backward;
    Rungs<MultiplyAddFn> multiply_add_limit;
    Rungs<ReadFn> read_limit;
    Rungs<CopyFn> copy_limit;
    Rungs<TriadFn> triad_limit;
};

}  // namespace loopnest
