//! stub
use crate::config::Config;
use everup_core::gate::machine::SlotKey;
use std::net::SocketAddr;
/// stub
#[derive(Debug)]
pub(crate) struct Pool;
impl Pool {
    pub(crate) fn new(_: &Config) -> Self {
        Self
    }
    pub(crate) fn close(&self, _: SlotKey) {}
    pub(crate) fn close_all_but(&self, _: SlotKey, _: SocketAddr) {}
}
