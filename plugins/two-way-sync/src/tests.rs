//! What is agreed on, what is shown, and that sides come out the same whatever happens in whatever order.

use std::collections::VecDeque;

use syncline_sdk::lookup::Address;
use syncline_sdk::prelude::*;
use syncline_sdk::testing::{self, Harness, event};

use crate::change::{Change, Edit};
use crate::merge::{Scope, carried, merged};
use crate::{Conflict, Policy, TwoWaySync, step};

#[test]
fn the_cases_hold() {
    testing::cases::<TwoWaySync>("cases");
}

fn harness(policy: &str) -> Harness<TwoWaySync> {
    Harness::new(json!({
        "sides": [{ "target": "crm" }, { "target": "billing", "entity": "account" }],
        "policy": policy,
        "conflicts": "conflicts",
    }))
}

fn change(target: &str, operation: &str, rest: Value) -> Event {
    let mut data =
        json!({ "target": target, "entity": "account", "key": "7", "operation": operation });
    let members = data.as_object_mut().unwrap();
    members.extend(rest.as_object().unwrap().clone());
    event("crm.account.changed", data)
}

/// Where an effect goes, what it does, and what it brings.
fn told(verdict: &Verdict) -> Vec<(&str, Operation, Value)> {
    let effects = verdict.effects().iter();
    effects
        .map(|effect| {
            let payload = serde_json::from_slice(&effect.payload).unwrap_or_default();
            (effect.target.as_deref().unwrap(), effect.operation, payload)
        })
        .collect()
}

use syncline_sdk::serde_json;

#[test]
fn what_is_there_already_is_not_written_again() {
    let mut harness = harness("last-writer");
    let crm = Address::new("crm", "7").entity("account");
    harness.host().entity_at(&crm, json!({ "n": 1 }));
    let put = change("crm", "upsert", json!({ "after": { "n": 1.0 } }));
    let verdict = harness.send(&put);
    assert_eq!(
        told(&verdict),
        [("billing", Operation::Upsert, json!({ "n": 1 }))]
    );
    let agreed = harness.host().state("/7").unwrap();
    assert_eq!(agreed, br#"{"n":1}"#);
    let billing = Address::new("billing", "7").entity("account");
    harness.host().entity_at(&billing, json!({ "n": 1 }));
    assert_eq!(told(&harness.send(&put)), []);
}

#[test]
fn what_was_not_seen_is_not_overwritten_and_is_shown() {
    let mut harness = harness("fields");
    let at = |target: &str| Address::new(target, "7").entity("account");
    harness
        .host()
        .put_state("/7", br#"{"name":"Ada","plan":"free","n":1}"#);
    let crm = json!({ "name": "Ada L.", "plan": "pro", "n": 1 });
    harness.host().entity_at(&at("crm"), crm);
    let billing = json!({ "name": "Ada B.", "plan": "free", "n": 2 });
    harness.host().entity_at(&at("billing"), billing);
    let patch = json!({ "patch": { "name": "Ada L.", "plan": "pro" } });
    let verdict = harness.send(&change("crm", "merge", patch));
    let expected = json!({ "name": "Ada B.", "plan": "pro", "n": 2 });
    let record = json!({
        "entity": "account", "key": "7", "members": ["/name"],
        "lost": { "target": "crm", "value": { "name": "Ada L.", "plan": "pro", "n": 1 } },
        "kept": { "target": "billing", "value": { "name": "Ada B.", "plan": "free", "n": 2 } },
    });
    assert_eq!(
        told(&verdict),
        [
            ("billing", Operation::Upsert, expected),
            ("conflicts", Operation::Append, record)
        ]
    );
    assert_eq!(harness.host().counter("conflicts"), 1);
    assert_eq!(
        harness.host().lines()[0].message,
        "two sides were changed at once"
    );
}

#[test]
fn what_is_nobodys_and_what_is_no_json_is_told_apart() {
    let mut harness = harness("last-writer");
    let other = change("search", "upsert", json!({ "after": {} }));
    assert_eq!(harness.send(&other), Verdict::drop("no side"));
    let record = change("crm", "append", json!({ "after": {} }));
    let expected = Verdict::drop("a record has no identity");
    assert_eq!(harness.send(&record), expected);
    let text = change("crm", "upsert", json!({ "after_type": "text/plain" }));
    let why = "what `crm` holds at `7` is no JSON but text/plain: only JSON is kept in step";
    assert_eq!(harness.send(&text), Verdict::reject(why));
    let nothing = change("crm", "merge", json!({}));
    let why = "`merge` without what it does is no event of a change feed";
    assert_eq!(harness.send(&nothing), Verdict::reject(why));
}

/// Two modules that people edit, their feeds, and the stream that both are on.
struct World {
    policy: Policy,
    random: u64,
    sides: Vec<Value>,
    /// Visible, and not yet in the stream.
    told: Vec<VecDeque<Value>>,
    stream: VecDeque<Value>,
    agreed: Option<Value>,
    conflicts: Vec<Conflict>,
    history: Vec<String>,
    is_raced: bool,
}

impl World {
    fn new(policy: Policy, seed: u64) -> Self {
        Self {
            policy,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            sides: vec![Value::Null; 3],
            told: vec![VecDeque::new(); 3],
            stream: VecDeque::new(),
            agreed: None,
            conflicts: Vec::new(),
            history: Vec::new(),
            is_raced: false,
        }
    }

    /// A number below `n`, by xorshift.
    fn below(&mut self, n: u64) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from((self.random >> 11) % n).unwrap()
    }

    fn member(&mut self) -> Value {
        match self.below(8) {
            0 => json!({ "x": self.below(3) }),
            1 => json!({ "x": self.below(3), "y": self.below(3) }),
            2 => json!([self.below(3)]),
            _ => json!(self.below(5)),
        }
    }

    fn document(&mut self) -> Value {
        let mut document = json!({ "a": self.member(), "b": self.member() });
        if self.below(2) == 0 {
            document["c"] = self.member();
        }
        document
    }

    fn patch(&mut self) -> Value {
        let name = ["a", "b", "c"][self.below(3)];
        let value = match self.below(6) {
            0 => Value::Null,
            1 => json!({ "x": self.below(3) }),
            2 => json!({ "y": null }),
            _ => self.member(),
        };
        json!({ name: value })
    }

    /// Somebody changes what one of the sides holds.
    fn edit(&mut self) {
        let side = self.below(3);
        let before = self.sides[side].clone();
        let is_known = self.below(3) == 0;
        let kind = if before.is_null() { 0 } else { self.below(8) };
        let (mut told, after) = match kind {
            0..=2 => {
                let after = self.document();
                (json!({ "operation": "upsert", "after": after }), after)
            }
            3 => (json!({ "operation": "delete", "after": null }), Value::Null),
            _ => {
                let patch = self.patch();
                let after = merged(before.clone(), &patch);
                let mut told = json!({ "operation": "merge", "patch": patch });
                if is_known {
                    told["after"] = after.clone();
                }
                (told, after)
            }
        };
        if is_known {
            told["before"] = before;
        }
        told["target"] = json!(side.to_string());
        told["key"] = json!("k");
        self.history.push(format!("edit {told}"));
        self.sides[side] = after;
        self.told[side].push_back(told);
    }

    fn publish(&mut self, side: usize) {
        let told = self.told[side].pop_front();
        self.stream.extend(told);
    }

    /// The next change of the stream is applied, in one transaction. At times somebody changes an entity
    /// between the look at it and the change, unseen.
    fn process(&mut self) {
        let Some(told) = self.stream.pop_front() else {
            return;
        };
        let change: Change = serde_json::from_value(told).unwrap();
        let edit = change.edit(self.policy).unwrap().unwrap();
        let (from, scope) = (change.target.parse().unwrap(), self.policy.scope());
        let step = step(&edit, from, self.agreed.as_ref(), &self.sides, scope);
        if self.is_raced && self.below(4) == 0 {
            self.edit();
        }
        self.history.push(format!("from {from} {edit:?}: {step:?}"));
        self.agreed = Some(step.agreed).filter(|agreed| !agreed.is_null());
        for (side, wanted) in self.sides.iter_mut().zip(step.wanted) {
            if let Some(wanted) = wanted {
                *side = wanted;
            }
        }
        self.conflicts.extend(step.conflicts);
    }

    fn finish(&mut self) {
        for side in 0..self.told.len() {
            while !self.told[side].is_empty() {
                self.publish(side);
            }
        }
        while !self.stream.is_empty() {
            self.process();
        }
    }
}

fn policies() -> [Policy; 2] {
    [Policy::LastWriter, Policy::Fields]
}

#[test]
fn sides_come_out_the_same_whatever_happens_in_whatever_order() {
    let mut n_conflicts = 0;
    for policy in policies() {
        for seed in 0..20_000 {
            let mut world = World::new(policy, seed);
            world.is_raced = seed % 2 == 1;
            for _ in 0..40 {
                match world.below(3) {
                    0 => world.edit(),
                    1 => {
                        let side = world.below(3);
                        world.publish(side);
                    }
                    _ => world.process(),
                }
            }
            world.is_raced = false;
            world.finish();
            let history = world.history.join("\n");
            assert_eq!(world.sides[0], world.sides[1], "seed {seed}:\n{history}");
            assert_eq!(world.sides[0], world.sides[2], "seed {seed}:\n{history}");
            n_conflicts += world.conflicts.len();
        }
    }
    assert!(n_conflicts > 1000, "{n_conflicts}");
}

#[test]
fn who_takes_turns_has_no_conflict_and_the_last_word() {
    for policy in policies() {
        for seed in 0..2_000 {
            let mut world = World::new(policy, seed);
            for _ in 0..20 {
                world.edit();
                let last = world.told.iter().position(|told| !told.is_empty()).unwrap();
                let expected = world.sides[last].clone();
                world.finish();
                let history = world.history.join("\n");
                assert_eq!(world.sides, vec![expected; 3], "seed {seed}:\n{history}");
            }
            assert_eq!(world.conflicts, []);
        }
    }
}

#[test]
fn changes_of_different_fields_both_hold() {
    let two = |scope: Scope| {
        let agreed = json!({ "a": 1, "b": 1 });
        let mut sides = vec![json!({ "a": 2, "b": 1 }), json!({ "a": 1, "b": 2 })];
        let mut agreed = Some(agreed);
        let mut n_conflicts = 0;
        for (from, patch) in [(0, json!({ "a": 2 })), (1, json!({ "b": 2 }))] {
            let step = step(&Edit::Patch(patch), from, agreed.as_ref(), &sides, scope);
            for (side, wanted) in sides.iter_mut().zip(step.wanted) {
                *side = wanted.unwrap_or(side.clone());
            }
            agreed = Some(step.agreed);
            n_conflicts += step.conflicts.len();
        }
        assert_eq!(sides[0], sides[1]);
        (sides.remove(0), n_conflicts)
    };
    assert_eq!(two(Scope::Members), (json!({ "a": 2, "b": 2 }), 0));
    // The later one's entity, whole.
    assert_eq!(two(Scope::Whole), (json!({ "a": 1, "b": 2 }), 1));
}

#[test]
fn a_number_is_the_same_in_every_form() {
    let forms = json!([1.0, 1, 1e2, 0.5, -0.0, 1e300, { "n": 2.0 }]);
    let expected = json!([1, 1, 100, 0.5, 0, 1e300, { "n": 2 }]);
    assert_eq!(carried(forms), expected);
}
