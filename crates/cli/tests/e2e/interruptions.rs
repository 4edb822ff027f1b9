//! What a deployment has besides its steps, a pause, a question and a way back: everybody is killed in turn (kill -9) in the middle of
//! it.

use crate::harness::Setup;
use crate::life::{AllAtOnce, Life, Rolling, Way};
use crate::who::Who;

/// It stays paused whoever dies, and goes on when it is told to.
#[test]
fn everybody_dies_while_it_is_paused() {
    let mut life = Life::begin(Setup::default().gate, Rolling, 3);
    for who in Who::all() {
        let ended = life.paused(|life, victim| life.kill(who, victim)).succeeded_somehow();
        life.all_serve();
        life.judge(who, &ended.record);
    }
    life.ends();
}

/// Nobody guesses how a migration ended, and it is not run again.
#[test]
fn everybody_dies_while_a_person_is_asked() {
    let mut life = Life::begin(Setup::default().gate, AllAtOnce, 3);
    let all = Who::without_apps();
    for who in &all {
        let ended = life.asked(|life, victim| life.kill(*who, victim)).succeeded_somehow();
        life.all_serve();
        life.judge(*who, &ended.record);
    }
    let last = all.len() + 1;
    assert_eq!(life.ran(), (2..=last).map(|version| version.to_string()).collect::<Vec<_>>());
    life.ends();
}

/// It goes on with the way back, to its end.
fn dies_on_the_way_back(way: Way) {
    let mut life = Life::begin(Setup::default().gate, way, 3);
    for who in Who::all() {
        let ended = life.on_the_way_back(|life, victim| life.kill(who, victim)).rolled_back();
        life.all_serve();
        life.judge(who, &ended.record);
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
