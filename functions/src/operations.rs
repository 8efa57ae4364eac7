//! The list of all HTTP operations that use the table.

use crate::http::auth::{READ_SCOPE, WRITE_SCOPE};
use crate::http::{Operation, conversations, members, messages, profiles, tickets};

/// Declares each operation once: its constant, its handler, its scope, its query parameters.
macro_rules! operations {
    ($($name:ident = $module:ident::$handler:ident, $scope:ident, [$($query:literal),*];)*) => {
        $(
            #[doc = concat!("[`", stringify!($module), "::", stringify!($handler), "`].")]
            pub static $name: Operation = Operation {
                id: stringify!($handler),
                scope: $scope,
                query: &[$($query),*],
                handler: |invocation| Box::pin($module::$handler(invocation)),
            };
        )*

        /// Every operation.
        pub static ALL: &[&Operation] = &[$(&$name),*];

        /// The operations as `utoipa` describes them.
        #[derive(utoipa::OpenApi)]
        #[openapi(paths($($module::$handler),*))]
        pub struct Described;
    };
}

operations! {
    CREATE_PROFILE = profiles::create_profile, WRITE_SCOPE, [];
    LIST_PROFILES = profiles::list_profiles, READ_SCOPE, ["limit", "before", "owner"];
    GET_PROFILE = profiles::get_profile, READ_SCOPE, [];
    UPDATE_PROFILE = profiles::update_profile, WRITE_SCOPE, [];
    DELETE_PROFILE = profiles::delete_profile, WRITE_SCOPE, [];
    LIST_MEMBERSHIPS = members::list_memberships, READ_SCOPE, ["limit", "after"];
    CREATE_CONVERSATION = conversations::create_conversation, WRITE_SCOPE, [];
    LIST_CONVERSATIONS = conversations::list_conversations, READ_SCOPE, ["limit", "before"];
    GET_CONVERSATION = conversations::get_conversation, READ_SCOPE, ["limit"];
    UPDATE_CONVERSATION = conversations::update_conversation, WRITE_SCOPE, [];
    DELETE_CONVERSATION = conversations::delete_conversation, WRITE_SCOPE, [];
    LIST_MEMBERS = members::list_members, READ_SCOPE, ["limit", "after"];
    PUT_MEMBER = members::put_member, WRITE_SCOPE, [];
    DELETE_MEMBER = members::delete_member, WRITE_SCOPE, [];
    MARK_READ = members::mark_read, WRITE_SCOPE, [];
    CREATE_MESSAGE = messages::create_message, WRITE_SCOPE, [];
    LIST_MESSAGES = messages::list_messages, READ_SCOPE, ["limit", "before", "after"];
    LIST_CHANGES = messages::list_changes, READ_SCOPE, ["limit", "after"];
    GET_MESSAGE = messages::get_message, READ_SCOPE, [];
    UPDATE_MESSAGE = messages::update_message, WRITE_SCOPE, [];
    DELETE_MESSAGE = messages::delete_message, WRITE_SCOPE, [];
    CREATE_TICKET = tickets::create_ticket, READ_SCOPE, [];
}

/// Returns the operation of a Lambda function, by the function's name in `template.yaml`.
#[must_use]
pub fn find(function: &str) -> Option<&'static Operation> {
    ALL.iter().copied().find(|operation| operation.function() == function)
}
