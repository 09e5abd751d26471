//! Which of two attempts at one copy of an event is the later one. Pure.

use super::Transaction;

impl Transaction {
    /// Whether both are attempts at one copy of an event in one tenure, and this is the later one.
    pub(in crate::txn) fn is_after(&self, other: &Self) -> bool {
        let (event, its) = (&self.event, &other.event);
        let is_copy = event.sequence > 0
            && (&event.stream, event.created, event.sequence)
                == (&its.stream, its.created, its.sequence);
        let is_tenure = (self.partition, self.epoch) == (other.partition, other.epoch);
        is_copy && is_tenure && self.number() > other.number()
    }

    /// The last part of its name: see `Ledger::new_gid`.
    fn number(&self) -> Option<u64> {
        self.gid.rsplit('.').next()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn of_the_attempts_at_one_copy_the_number_tells_the_later_one() {
        let transaction = |gid: &str, epoch, sequence| -> Transaction {
            let event =
                json!({"id": "k", "stream": "SRC", "created": 1, "sequence": sequence, "key": "k"});
            let all = json!({"gid": gid, "partition": 0, "epoch": epoch, "event": event});
            serde_json::from_value(all).unwrap()
        };
        let first = transaction("k.0.7.9", 7, 3);
        assert!(transaction("k.0.7.10", 7, 3).is_after(&first));
        assert!(!first.is_after(&transaction("k.0.7.10", 7, 3)));
        assert!(!transaction("k.0.7.10", 7, 4).is_after(&first), "a copy");
        assert!(
            !transaction("k.0.8.10", 8, 3).is_after(&first),
            "another tenure"
        );
        let core = transaction("k.0.7.9", 7, 0);
        assert!(
            !transaction("k.0.7.10", 7, 0).is_after(&core),
            "nobody knows"
        );
    }
}
