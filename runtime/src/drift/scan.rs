//! Both sides, read once and spooled, and compared part by part.

use super::judge::{Candidate, Source};
use super::mapping::Mapped;
use super::spool::{Parts, Spool};
use super::value::hash_of;
use super::{Comparison, Difference, DriftError, Report, Side, Step, What};
use crate::event::{Effect, Operation};
use crate::target::{Draft, LARGEST_PAGE, Listed, Page, Position, ReadError, Wanted};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Entities that are read at once.
const PAGE: usize = 256;
const _: () = assert!(PAGE <= LARGEST_PAGE);
/// Entities that the plugin is asked about at once.
const ASKED: usize = 16;
/// Differences that are looked at again at once.
const LOOKED_AT: usize = 32;
/// How often a target is asked again that did not answer.
const ATTEMPTS: usize = 3;

/// What an entity says that there should be.
#[derive(Serialize, Deserialize)]
struct Claim {
    place: String,
    entity: Option<String>,
    key: String,
    source: Source,
    /// How many entities were told before: one that was told twice counts as it was the last time.
    turn: u64,
    operation: Operation,
    /// Of the whole entity, where it says so much.
    hash: Option<String>,
}

/// What there is.
#[derive(Serialize, Deserialize)]
struct Holding {
    place: String,
    entity: Option<String>,
    key: String,
    hash: String,
}

/// Counts what was done, while it goes on.
pub type Progress<'a> = &'a (dyn Fn(Step) + Sync);

impl Comparison<'_> {
    /// Compares, and repairs what is to be repaired.
    ///
    /// # Errors
    /// When it cannot be said how the two stand. What was repaired until then is.
    pub async fn run(&self, progress: Progress<'_>) -> Result<Report, DriftError> {
        let mut report = Report::default();
        let (claims, kinds) = Box::pin(self.tell(&mut report, progress)).await?;
        let holdings = Box::pin(self.read(&kinds, &mut report, progress)).await?;
        Box::pin(self.compare(claims, holdings, &mut report, progress)).await?;
        let order = |one: &Difference| (one.entity.clone(), one.key.clone());
        report.differences.sort_by_key(order);
        Ok(report)
    }

    /// Tells every entity, and spools what should come of it; also which kinds that is about.
    async fn tell(
        &self,
        report: &mut Report,
        progress: Progress<'_>,
    ) -> Result<(Parts, BTreeSet<Option<String>>), DriftError> {
        let mut spool = Spool::new(&self.folder)?;
        let (mut kinds, mut after, mut unseen) = (BTreeSet::new(), None, None);
        loop {
            let page = page_of(self.from, self.entity.as_deref(), after.as_ref()).await?;
            report.nameless += page.n_nameless;
            let asked = page.entities.iter().map(|listed| self.mapping.of(listed));
            let mapped: Vec<_> = futures::stream::iter(asked).buffered(ASKED).collect().await;
            let n_told = u64::try_from(page.entities.len()).unwrap_or_default();
            let mut effects = Vec::new();
            for (listed, mapped) in page.entities.iter().zip(mapped) {
                report.told += 1;
                match mapped {
                    Ok(Mapped {
                        unseen: Some(why), ..
                    }) => {
                        report.unseen += 1;
                        unseen = Some(why);
                    }
                    Ok(mapped) => effects.extend(self.comparable(listed, mapped, report)),
                    Err(why) => report.note(unfit(listed, why), self.limit),
                }
            }
            self.claim(&effects, (&mut spool, &mut kinds), report)
                .await?;
            progress(Step::Told(n_told));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        match unseen {
            Some(why) if report.unseen == report.told => Err(DriftError::Invalid(why)),
            _ => Ok((spool.read()?, kinds)),
        }
    }

    /// The effects that can be compared, each with where it comes from and its turn.
    fn comparable(
        &self,
        listed: &Listed,
        mapped: Mapped,
        report: &mut Report,
    ) -> Vec<(Source, u64, Effect)> {
        report.elsewhere += mapped.n_elsewhere;
        let mut comparable = Vec::new();
        for effect in mapped.effects {
            if effect.operation == Operation::Append {
                report.records += 1;
            } else {
                comparable.push((Source::of(listed), report.told, effect));
            }
        }
        comparable
    }

    async fn claim(
        &self,
        effects: &[(Source, u64, Effect)],
        (spool, kinds): (&mut Spool, &mut BTreeSet<Option<String>>),
        report: &mut Report,
    ) -> Result<(), DriftError> {
        let drafts: Vec<_> = effects
            .iter()
            .map(|(_, _, effect)| draft_of(effect))
            .collect();
        let previews = self.onto.target.preview(&drafts).await;
        let previews = previews.map_err(|error| DriftError::of(self.onto.name, error))?;
        for ((source, turn, effect), preview) in effects.iter().zip(previews) {
            let preview = match preview {
                Ok(preview) => preview,
                Err(why) => {
                    report.note(Difference::unfit(effect, why), self.limit);
                    continue;
                }
            };
            kinds.insert(effect.entity.clone());
            let is_whole = effect.operation == Operation::Upsert;
            let claim = Claim {
                hash: is_whole.then(|| hash_of(&preview.data)),
                entity: effect.entity.clone(),
                key: effect.key.clone(),
                source: source.clone(),
                turn: *turn,
                operation: effect.operation,
                place: preview.place,
            };
            spool.put(&claim.place, &claim)?;
        }
        Ok(())
    }

    /// Reads every entity of the other side, and spools what it is.
    async fn read(
        &self,
        written: &BTreeSet<Option<String>>,
        report: &mut Report,
        progress: Progress<'_>,
    ) -> Result<Parts, DriftError> {
        let mut spool = Spool::new(&self.folder)?;
        let mut kinds: Vec<Option<&str>> = self.into.iter().map(|kind| Some(&**kind)).collect();
        if kinds.is_empty() {
            kinds = written.iter().map(Option::as_deref).collect();
        }
        if kinds.is_empty() {
            kinds.push(self.entity.as_deref());
        }
        for kind in kinds {
            let mut after = None;
            loop {
                let page = page_of(self.onto, kind, after.as_ref()).await?;
                report.nameless += page.n_nameless;
                for listed in &page.entities {
                    report.read += 1;
                    let place = self
                        .onto
                        .target
                        .place_of(listed.entity.as_deref(), &listed.key);
                    let holding = Holding {
                        hash: hash_of(&listed.found.data),
                        entity: listed.entity.clone(),
                        key: listed.key.clone(),
                        place,
                    };
                    spool.put(&holding.place, &holding)?;
                }
                progress(Step::Read(
                    u64::try_from(page.entities.len()).unwrap_or_default(),
                ));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        spool.read()
    }

    async fn compare(
        &self,
        mut claims: Parts,
        mut holdings: Parts,
        report: &mut Report,
        progress: Progress<'_>,
    ) -> Result<(), DriftError> {
        while let Some(claims) = claims.next::<Claim>()? {
            let mut held: HashMap<String, Holding> = HashMap::new();
            // What was read twice counts as it was the last time.
            for holding in holdings.next::<Holding>()?.unwrap_or_default() {
                held.insert(holding.place.clone(), holding);
            }
            let mut claimed: BTreeMap<String, Vec<Claim>> = BTreeMap::new();
            for claim in claims {
                claimed.entry(claim.place.clone()).or_default().push(claim);
            }
            let (n_before, mut doubtful) = (report.same, Vec::new());
            for (place, claims) in claimed {
                let claims = latest(claims);
                let holding = held.remove(&place);
                match is_settled(&claims, holding.as_ref()) {
                    true => report.same += 1,
                    false => doubtful.extend(candidate(place, claims)),
                }
            }
            let mut left: Vec<_> = held.into_values().collect();
            left.sort_by(|one, other| one.place.cmp(&other.place));
            doubtful.extend(
                left.into_iter()
                    .map(|it| Candidate::of_name(it.place, it.entity, it.key)),
            );
            progress(Step::Compared(report.same - n_before));
            self.look_again(doubtful, report, progress).await?;
        }
        Ok(())
    }

    async fn look_again(
        &self,
        doubtful: Vec<Candidate>,
        report: &mut Report,
        progress: Progress<'_>,
    ) -> Result<(), DriftError> {
        let looked = doubtful.iter().map(|candidate| self.judge(candidate));
        let mut looked = futures::stream::iter(looked).buffered(LOOKED_AT);
        while let Some(found) = looked.next().await {
            match found? {
                None => report.same += 1,
                Some(difference) => report.note(difference, self.limit),
            }
            progress(Step::Compared(1));
        }
        Ok(())
    }
}

/// A page. A target that does not answer is asked again: a list of a million is long.
async fn page_of(
    side: Side<'_>,
    entity: Option<&str>,
    after: Option<&Position>,
) -> Result<Page, DriftError> {
    let wanted = Wanted {
        entity,
        prefix: "",
        after,
        limit: PAGE,
    };
    let mut n_asked = 1;
    loop {
        match side.target.list(&wanted).await {
            Err(ReadError::Unavailable(_)) if n_asked < ATTEMPTS => n_asked += 1,
            page => return page.map_err(|error| DriftError::of(side.name, error)),
        }
    }
}

fn draft_of(effect: &Effect) -> Draft {
    Draft {
        entity: effect.entity.clone(),
        key: effect.key.clone(),
        data: (effect.operation == Operation::Upsert).then(|| effect.payload.clone()),
    }
}

/// Of each source, what it said the last time.
fn latest(claims: Vec<Claim>) -> Vec<Claim> {
    let mut turns: HashMap<Source, u64> = HashMap::new();
    for claim in &claims {
        let turn = turns.entry(claim.source.clone()).or_default();
        *turn = claim.turn.max(*turn);
    }
    let is_last = |claim: &Claim| turns.get(&claim.source) == Some(&claim.turn);
    claims.into_iter().filter(is_last).collect()
}

/// Whether it is plain that there is what should be.
fn is_settled(claims: &[Claim], holding: Option<&Holding>) -> bool {
    let [claim] = claims else { return false };
    match (claim.operation, holding) {
        (Operation::Upsert, Some(holding)) => claim.hash.as_ref() == Some(&holding.hash),
        (Operation::Delete, None) => true,
        _ => false,
    }
}

fn candidate(place: String, claims: Vec<Claim>) -> Option<Candidate> {
    let mut sources: Vec<Source> = Vec::new();
    for claim in &claims {
        if !sources.contains(&claim.source) {
            sources.push(claim.source.clone());
        }
    }
    let first = claims.into_iter().next()?;
    Some(Candidate {
        place,
        entity: first.entity,
        key: first.key,
        sources,
    })
}

fn unfit(listed: &Listed, why: String) -> Difference {
    Difference {
        what: What::Unfit,
        entity: listed.entity.clone(),
        key: listed.key.clone(),
        at: Vec::new(),
        why: Some(why),
        outcome: None,
    }
}
