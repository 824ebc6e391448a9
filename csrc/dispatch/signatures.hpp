// The signatures of the kernels: SignatureFn<T> for a line of rungs.def.
#pragma once

#include "view.hpp"

namespace loopnest {

// Results come last. The rows of a result are contiguous; parameters and states that an optimizer updates in place may
// have any strides. Hyper-parameters are double for float kernels too: 1 - 0.999f would be off by 5e-5.
template <class T> using UnaryFn = void (*)(Matrix<const T> x, Matrix<T> y);
template <class T> using BinaryFn = void (*)(Matrix<const T> a, Matrix<const T> b, Matrix<T> c);
template <class T> using StackFn = void (*)(Stack<const T> a, Stack<const T> b, Stack<T> c);
template <class T>
using WhyFn = const char* (*)(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, Vector<std::int64_t> how);
// `panels` are b's, one in each row (matmul/kernel/panels.hpp).
template <class T> using PrepackedFn = void (*)(Matrix<const T> a, Matrix<const T> panels, Matrix<T> c);
template <class T> using SizeFn = index (*)(Vector<const T> of_this_type);
template <class T>
using ByBlocksFn = void (*)(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, index rows, index inner, index cols);
template <class T> using DotFn = void (*)(Vector<const T> x, Vector<const T> y, T* sum);
template <class T> using SumFn = void (*)(Matrix<const T> a, T* sum);
template <class T> using LinearFn = void (*)(Matrix<const T> x, Matrix<const T> w, Vector<const T> b, Matrix<T> y);
template <class T> using GeluFn = void (*)(Matrix<const T> x, Matrix<T> y, bool tanh_form);
template <class T> using GeluBackwardFn = void (*)(Matrix<const T> x, Matrix<const T> dy, Matrix<T> dx, bool tanh_form);
template <class T> using MseFn = void (*)(Matrix<const T> y, Matrix<const T> t, T* loss);
template <class T> using MseBackwardFn = void (*)(Matrix<const T> y, Matrix<const T> t, Matrix<T> dy, index count);
template <class T> using CrossEntropyFn = void (*)(Matrix<const T> logits, Vector<const std::int64_t> labels, T* loss);
template <class T>
using CrossEntropyBackwardFn = void (*)(Matrix<const T> logits, Vector<const std::int64_t> labels, Matrix<T> dlogits);
template <class T> using SgdFn = void (*)(Matrix<T> param, Matrix<const T> grad, double lr);
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

// The loops that measure the machine's limits (measure/limits.hpp).
template <class T> using MultiplyAddFn = index (*)(Vector<T> values, index rounds);
template <class T> using ReadFn = T (*)(Vector<const T> x, index passes);
template <class T> using CopyFn = void (*)(Vector<const T> x, Vector<T> y, index passes);
template <class T> using TriadFn = void (*)(Vector<const T> x, Vector<const T> y, Vector<T> z, index passes);

}  // namespace loopnest
