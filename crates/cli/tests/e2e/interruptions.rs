//! What a deployment has besides its steps, a pause and a way back: everybody is killed in turn (kill -9) in the middle of
//! it.

use crate::harness::Setup;
use crate::life::{AllAtOnce, Life, Rolling, Way};
use crate::who::Who;

/// It stays paused whoever dies, and goes on when it is told to.
#[test]
fn everybody_dies_while_it_is_paused() {
    let mut life = Life::begin(Setup::default().gate, Rolling, 3);
    for who in Who::all() {
        life.paused(|life, victim| life.kill(who, victim)).succeeded_somehow();
        life.all_serve();
    }
    life.ends();
}

/// It goes on with the way back, to its end.
fn dies_on_the_way_back(way: Way) {
    let mut life = Life::begin(Setup::default().gate, way, 3);
    for who in Who::all() {
        life.on_the_way_back(|life, victim| life.kill(who, victim)).rolled_back();
        life.all_serve();
    }
    life.ends();
}

#[test]
fn everybody_dies_on_the_way_back_of_a_roll() {
    dies_on_the_way_back(Rolling);
}

#[test]
fn everybody_dies_on_the_way_back_of_all_at_once() {
    dies_on_the_way_back(AllAtOnce);
}
