//! stub
use everup_core::receipt::{Source, Window};
/// stub
#[derive(Debug, Default)]
pub(crate) struct Meter;
impl Meter {
    pub(crate) fn measure(&self, _: Window) -> Source {
        Source::default()
    }
}
