//! Messages in the table: reading pages, posting, changing.

mod changing;
mod drafts;
mod gaps;
mod posting;
mod reading;

pub use posting::Posted;
pub(super) use reading::MessagePage;
