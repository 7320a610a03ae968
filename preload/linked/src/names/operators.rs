//! C++'s operators new and delete, in all their forms (Itanium C++ ABI; size_t is `m`).

use super::{List, Scope};
use crate::call::Call;

/// By their linker's names.
pub(super) const OPERATORS: List = List { scope: Scope::Operators, calls: CALLS };

const CALLS: &[Call] = &[
    Call::acquire_or_throw("_Znwm", 0),
    Call::acquire_or_throw("_Znam", 0),
    Call::acquire_or_throw("_ZnwmRKSt9nothrow_t", 0),
    Call::acquire_or_throw("_ZnamRKSt9nothrow_t", 0),
    Call::acquire_or_throw("_ZnwmSt11align_val_t", 0).aligned(1),
    Call::acquire_or_throw("_ZnamSt11align_val_t", 0).aligned(1),
    Call::acquire_or_throw("_ZnwmSt11align_val_tRKSt9nothrow_t", 0).aligned(1),
    Call::acquire_or_throw("_ZnamSt11align_val_tRKSt9nothrow_t", 0).aligned(1),
    // Returns block and size in two registers.
    Call::acquire_or_throw("__size_returning_new", 0),
    Call::acquire_or_throw("__size_returning_new_aligned", 0).aligned(1),
    Call::release("_ZdlPv", 0),
    Call::release("_ZdaPv", 0),
    Call::release("_ZdlPvm", 0),
    Call::release("_ZdaPvm", 0),
    Call::release("_ZdlPvRKSt9nothrow_t", 0),
    Call::release("_ZdaPvRKSt9nothrow_t", 0),
    Call::release("_ZdlPvSt11align_val_t", 0),
    Call::release("_ZdaPvSt11align_val_t", 0),
    Call::release("_ZdlPvmSt11align_val_t", 0),
    Call::release("_ZdaPvmSt11align_val_t", 0),
    Call::release("_ZdlPvSt11align_val_tRKSt9nothrow_t", 0),
    Call::release("_ZdaPvSt11align_val_tRKSt9nothrow_t", 0),
];
