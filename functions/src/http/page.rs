//! Pages as clients see them: the domain's cursors become links.

use serde::Serialize;
use utoipa::ToSchema;

/// One page of a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The resources on this page.
    pub results: Vec<T>,
    /// Path and query of the following page; `None` on the last page.
    #[schema(required)]
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Renders a page; `link` returns the path and query of the page at a cursor.
    pub fn render<C>(page: shared::Page<T, C>, link: impl FnOnce(C) -> String) -> Self {
        Self { results: page.results, next: page.next.map(link) }
    }
}
