//! What a deployment has besides its steps, its first and its last word in the store, a proof, a pause, a question and a way
//! back: everybody is killed in turn (kill -9) in the middle of it.

use crate::harness::Setup;
use crate::life::{AllAtOnce, Life, Rolling, Way};
use crate::who::Who;
use everup_core::deployment::State;

/// What the store had not carried out when somebody died is carried out afterwards.
fn dies_while_unwritten(words: &str) {
    let Some((mut life, store)) = Life::in_s3(Rolling) else { return };
    for who in Who::all() {
        let ended = life.unwritten(&store, words, |life, victim| life.kill(who, victim)).succeeded_somehow();
        life.all_serve();
        if words == RECEIPT {
            life.judge_late(who);
        } else {
            life.judge(who, &ended.record);
        }
    }
    life.ends();
}

/// What a record has only with its receipt.
const RECEIPT: &str = "\"verdict\": ";

/// Head names the deployment, and nothing else says that there is one.
#[test]
fn everybody_dies_while_it_is_pending() {
    dies_while_unwritten("\"state\": \"pending\"");
}

#[test]
fn everybody_dies_while_its_end_is_written() {
    dies_while_unwritten("\"state\": \"succeeded\"");
}

/// It is over, and head still names it.
#[test]
fn everybody_dies_while_its_receipt_is_written() {
    dies_while_unwritten(RECEIPT);
}

/// An app that ends before it is proven is the fault of its release; who else dies is nobody's. What was begun all at once
/// goes on without it.
fn dies_while_one_proves_itself(mut life: Life) {
    for who in Who::all() {
        let before = life.serving;
        let ended = life.proving(|life, victim| life.kill(who, victim));
        let record = ended.record.clone();
        match (who, life.way) {
            (Who::Minder | Who::App, Rolling) => {
                ended.rolled_back();
                life.serving = before;
            }
            (Who::Minder | Who::App, AllAtOnce) => {
                assert_eq!((ended.record.state, ended.code), (State::Failed, 4));
            }
            _ => drop(ended.succeeded_somehow()),
        }
        life.all_serve();
        life.judge(who, &record);
    }
    life.ends();
}

#[test]
fn everybody_dies_while_one_proves_itself_in_a_roll() {
    dies_while_one_proves_itself(Life::with_proof(Rolling, false));
}

#[test]
fn everybody_dies_while_one_proves_itself_beside_the_old_one() {
    dies_while_one_proves_itself(Life::with_proof(Rolling, true));
}

#[test]
fn everybody_dies_while_one_proves_itself_all_at_once() {
    dies_while_one_proves_itself(Life::with_proof(AllAtOnce, false));
}

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
