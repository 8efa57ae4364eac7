//! Members in the table: who takes part in a conversation, with role and read position.
//!
//! Each member is an item `MEMBER#…`. What all profiles of one owner are in a conversation is
//! counted in one item `ACCESS#…`, which decides what that owner may see. Both change in one
//! transaction, so the counters always equal the members.

mod changing;
mod marking;
mod reading;

pub use changing::PutMember;
