//! Messages in the table: reading pages, posting, changing.

mod changing;
mod posting;
mod reading;
