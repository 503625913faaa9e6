//! The order of trials and the budget, tested on a simulated lab with a clock of its own.

use std::time::Duration;

use proptest::prelude::*;

use super::schedule::{Forecast, Lab, Outcome, Rejected, Subject, Trouble, tune};
use crate::Error;
use crate::ops::Op;
use crate::ops::kernel::{Implementation, KernelCall, Source};
use crate::ops::op::{CpuForm, Operand, Operands, Precision};
use crate::verify::Mismatch;

/// An operation that is never run.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pretended {
    number: usize,
    elements: usize,
}

impl Op for Pretended {
    fn name(&self) -> &'static str {
        "pretended"
    }
    fn operands(&self) -> Vec<Operand> {
        vec![Operand::read("input", [self.elements]), Operand::write("output", [self.elements])]
    }
    fn define(&self, _: &mut Operands<f64>) {}
    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|_| {})
    }
    fn implementations(&self, _: &crate::device::DeviceProfile) -> Vec<Implementation> {
        let named = |name| {
            let source = Source { name, ..Source::default() };
            Implementation::of(name, KernelCall::elementwise(source, Vec::new(), 2, self.elements))
        };
        ["first", "second", "third", "fourth", "direct"].map(named).to_vec()
    }
    fn flops(&self) -> u64 {
        1
    }
    fn precision(&self) -> Precision {
        Precision::EXACT
    }
}

fn subject(op: &Pretended, longest: Duration) -> Subject<'_> {
    Subject::new(op, &crate::device::DeviceProfile::portable(), longest)
}

/// The behaviour of an operation: times in seconds of its three candidates and its reference.
#[derive(Clone, Debug)]
struct Behaviour {
    times: [f64; 4],
    wrong: [bool; 3],
    wrong_reference: bool,
    refused: [bool; 4],
    finite: bool,
    memory: bool,
}

const SOUND: Behaviour = Behaviour {
    times: [1e-3; 4],
    wrong: [false; 3],
    wrong_reference: false,
    refused: [false; 4],
    finite: true,
    memory: true,
};

const MISMATCH: Mismatch =
    Mismatch { op: "pretended", operand: "output", index: 3, expected: 1.0, found: 2.0, bound: 1e-5 };

struct PretendedLab {
    behaviours: Vec<Behaviour>,
    now: f64,
    compile: f64,
    start: f64,
    moving: f64,
    started: Vec<(usize, usize)>,
    opened: Vec<usize>,
    is_open: bool,
    lost: bool,
}

impl PretendedLab {
    fn new(behaviours: Vec<Behaviour>) -> Self {
        PretendedLab {
            behaviours,
            now: 0.0,
            compile: 0.05,
            start: 0.01,
            moving: 1e-3,
            started: Vec::new(),
            opened: Vec::new(),
            is_open: false,
            lost: false,
        }
    }

    fn number(subject: &Subject) -> usize {
        let debug = format!("{:?}", subject.op);
        let digits: String =
            debug.chars().skip_while(|c| !c.is_ascii_digit()).take_while(|c| c.is_ascii_digit()).collect();
        digits.parse().unwrap()
    }

    /// Tunes one operation for each behaviour.
    fn tune(&mut self, budget: f64) -> Result<Vec<Outcome>, Error> {
        let ops: Vec<Pretended> =
            (0..self.behaviours.len()).map(|number| Pretended { number, elements: 1000 }).collect();
        let longest = |op: &Pretended| self.behaviours[op.number].times.into_iter().fold(0.0, f64::max);
        let subjects: Vec<Subject> =
            ops.iter().map(|op| subject(op, Duration::from_secs_f64(longest(op)))).collect();
        tune(&subjects, Duration::from_secs_f64(budget), 1, &mut Forecast::default(), self)
    }
}

impl Lab for PretendedLab {
    fn elapsed(&self) -> Duration {
        Duration::from_secs_f64(self.now)
    }

    fn compile(&mut self, subjects: &[Subject]) -> Vec<Vec<Result<(), String>>> {
        self.now += self.compile;
        let compiled = |subject: &Subject| {
            let refused = self.behaviours[Self::number(subject)].refused;
            refused.map(|refused| if refused { Err("no".to_string()) } else { Ok(()) }).to_vec()
        };
        subjects.iter().map(compiled).collect()
    }

    fn open(&mut self, subject: &Subject) -> Result<(), Trouble> {
        assert!(!self.is_open);
        let number = Self::number(subject);
        self.now += self.moving;
        self.opened.push(number);
        self.is_open = true;
        if self.behaviours[number].memory { Ok(()) } else { Err(Trouble::Memory) }
    }

    fn run(&mut self, subject: &Subject, implementation: usize, times: usize) -> Result<Duration, Trouble> {
        assert!(self.is_open);
        if self.lost {
            return Err(Error::invalid("pretended", "a device", "none").into());
        }
        let number = Self::number(subject);
        let mut time = self.behaviours[number].times[implementation] * times as f64;
        if !self.started.contains(&(number, implementation)) {
            // Drivers that compile late include that in the device's time.
            time += self.start;
            self.started.push((number, implementation));
        }
        self.now += time;
        Ok(Duration::from_secs_f64(time))
    }

    fn ask_reference(
        &mut self,
        subject: &Subject,
        implementation: usize,
    ) -> Result<(Duration, Result<(), Mismatch>), Trouble> {
        self.now += self.moving;
        let time = self.run(subject, implementation, 1)?;
        let Behaviour { finite, wrong, wrong_reference, .. } = self.behaviours[Self::number(subject)];
        let wrong = wrong.get(implementation).copied().unwrap_or(wrong_reference);
        match finite {
            true => Ok((time, if wrong { Err(MISMATCH) } else { Ok(()) })),
            false => Err(Trouble::NotFinite),
        }
    }

    fn check(
        &mut self,
        subject: &Subject,
        implementation: usize,
    ) -> Result<(Duration, Result<f64, Mismatch>), Trouble> {
        self.now += self.moving;
        let time = self.run(subject, implementation, 1)?;
        let verdict = match self.behaviours[Self::number(subject)].wrong[implementation] {
            false => Ok(1e-6),
            true => Err(MISMATCH),
        };
        Ok((time, verdict))
    }

    fn close(&mut self) {
        self.is_open = false;
    }
}

fn winner(outcome: &Outcome) -> Option<&str> {
    outcome.winner.as_ref().map(|winner| winner.implementation.as_str())
}

#[test]
fn the_fastest_wins_and_a_better_guess_wins_where_it_is_as_fast() {
    let behaviours = vec![
        Behaviour { times: [3e-3, 1e-3, 2e-3, 9e-3], ..SOUND },
        Behaviour { times: [1e-3, 0.98e-3, 2e-3, 9e-3], ..SOUND },
        Behaviour { times: [2e-3, 2e-3, 1e-4, 9e-3], ..SOUND },
    ];
    let outcomes = PretendedLab::new(behaviours).tune(10.0).unwrap();
    let winners: Vec<Option<&str>> = outcomes.iter().map(winner).collect();
    assert_eq!(winners, [Some("second"), Some("first"), Some("third")]);
    let winner = outcomes[0].winner.as_ref().unwrap();
    assert!((winner.milliseconds - 1.0).abs() < 1e-6 && winner.error == 1e-6, "{winner:?}");
    assert!(outcomes.iter().all(|outcome| outcome.rejected.is_empty()));
}

#[test]
fn what_is_wrong_or_does_not_compile_never_wins_however_fast_it_is() {
    let fast = [1e-6, 1e-6, 2e-3, 9e-3];
    let behaviours = vec![
        Behaviour { times: fast, wrong: [true, true, false], ..SOUND },
        Behaviour { times: fast, wrong: [false, true, false], refused: [true, false, false, false], ..SOUND },
        Behaviour { times: fast, wrong: [true; 3], ..SOUND },
        // Without a reference, no candidate can be judged.
        Behaviour { times: fast, refused: [false, false, false, true], ..SOUND },
    ];
    let outcomes = PretendedLab::new(behaviours).tune(10.0).unwrap();
    let winners: Vec<Option<&str>> = outcomes.iter().map(winner).collect();
    assert_eq!(winners, [Some("third"), Some("third"), Some("direct"), None]);
    let rejected = |outcome: &Outcome| -> Vec<String> {
        outcome
            .rejected
            .iter()
            .map(|Rejected { implementation, reason }| format!("{implementation}: {reason}"))
            .collect()
    };
    let wrong = "output[3]: expected 1 within 1e-5, found 2";
    assert_eq!(rejected(&outcomes[0]), [format!("first: {wrong}"), format!("second: {wrong}")]);
    assert_eq!(rejected(&outcomes[1]), ["first: does not compile: no".into(), format!("second: {wrong}")]);
    assert_eq!(rejected(&outcomes[2]).len(), 3);
}

#[test]
fn where_the_reference_is_wrong_by_the_definition_the_plainest_right_candidate_takes_its_place() {
    let behaviours = vec![
        Behaviour { wrong_reference: true, ..SOUND },
        Behaviour { wrong_reference: true, wrong: [false, true, true], ..SOUND },
        Behaviour { wrong_reference: true, wrong: [true; 3], ..SOUND },
    ];
    let outcomes = PretendedLab::new(behaviours).tune(10.0).unwrap();
    assert_eq!(outcomes.iter().map(winner).collect::<Vec<_>>(), [Some("first"), Some("first"), None]);
    let rejected = |outcome: &Outcome| -> Vec<String> {
        outcome.rejected.iter().map(|rejected| rejected.implementation.clone()).collect()
    };
    assert_eq!(rejected(&outcomes[0]), ["direct"]);
    assert_eq!(rejected(&outcomes[1]), ["direct", "third", "second"]);
    assert_eq!(rejected(&outcomes[2]), ["direct", "third", "second", "first"]);
    assert!(outcomes[0].rejected[0].reason.starts_with("by the definition, output[3]: expected 1"));
}

#[test]
fn what_was_found_wrong_before_is_not_tried_again() {
    let op = Pretended { number: 0, elements: 10 };
    let mut subject = subject(&op, Duration::from_millis(1));
    subject.rejected = vec![Rejected { implementation: "first".into(), reason: "earlier".into() }];
    let mut lab = PretendedLab::new(vec![Behaviour { times: [1e-6, 2e-3, 1e-3, 9e-3], ..SOUND }]);
    let outcomes =
        tune(std::slice::from_ref(&subject), Duration::from_secs(9), 1, &mut Forecast::default(), &mut lab)
            .unwrap();
    assert_eq!(winner(&outcomes[0]), Some("third"));
    assert_eq!(outcomes[0].rejected, subject.rejected);
    assert!(!lab.started.contains(&(0, 0)), "{:?}", lab.started);
}

#[test]
fn operations_are_taken_in_their_order_until_the_time_is_up() {
    let behaviours = vec![Behaviour { times: [1e-3, 1e-3, 1e-3, 5e-3], ..SOUND }; 40];
    let all = PretendedLab::new(behaviours.clone()).tune(100.0).unwrap();
    assert!(all.len() == 40 && all.iter().all(|outcome| outcome.winner.is_some()));
    let mut lab = PretendedLab::new(behaviours);
    let some = lab.tune(2.0).unwrap();
    let tuned = some.iter().filter(|outcome| outcome.winner.is_some()).count();
    assert!((5..20).contains(&tuned), "{tuned}");
    assert!(some[..tuned].iter().all(|outcome| outcome.winner.is_some()));
    assert!(lab.opened.is_sorted() && lab.now < 2.0, "{} s", lab.now);

    let mut lab = PretendedLab::new(vec![SOUND]);
    assert_eq!(lab.tune(0.0).unwrap(), [Outcome::default()]);
    assert_eq!(lab.now, 0.0, "without time nothing is even compiled");
}

#[test]
fn an_operation_whose_reference_is_too_slow_is_left_to_the_rules_and_the_next_is_tuned() {
    let slow = Behaviour { times: [0.3, 0.3, 0.3, 30.0], ..SOUND };
    let mut lab = PretendedLab::new(vec![slow, SOUND]);
    let outcomes = lab.tune(3.0).unwrap();
    assert_eq!((winner(&outcomes[0]), winner(&outcomes[1])), (None, Some("first")));
    assert!(lab.now < 3.0 && !lab.opened.contains(&0), "{} s, {:?}", lab.now, lab.opened);

    // The rules consider it fast, and an earlier operation shows how slow the reference is.
    let op = |number| Pretended { number, elements: 10 };
    let ops = [op(0), op(1)];
    let subjects = ops.each_ref().map(|op| subject(op, Duration::from_millis(1)));
    let shows = Behaviour { times: [0.01, 0.01, 0.01, 1.0], ..SOUND };
    let hides = Behaviour { times: [0.3, 0.3, 0.3, 30.0], ..SOUND };
    let mut lab = PretendedLab::new(vec![shows, hides]);
    let outcomes = tune(&subjects, Duration::from_secs(6), 1, &mut Forecast::default(), &mut lab).unwrap();
    assert_eq!((winner(&outcomes[0]), winner(&outcomes[1])), (Some("first"), None));
    assert!(outcomes[1].attempted && lab.now < 6.0, "{} s, {outcomes:?}", lab.now);
}

#[test]
fn a_start_that_takes_long_is_not_taken_for_a_slow_kernel() {
    let behaviour = Behaviour { times: [1e-3, 1e-3, 1e-3, 9e-3], ..SOUND };
    let mut lab = PretendedLab { start: 0.4, ..PretendedLab::new(vec![behaviour; 4]) };
    let outcomes = lab.tune(100.0).unwrap();
    assert!(outcomes.iter().all(|outcome| winner(outcome) == Some("first")), "{outcomes:?}");
}

#[test]
fn too_little_memory_and_answers_that_are_not_finite_leave_the_others_alone() {
    let behaviours = vec![Behaviour { memory: false, ..SOUND }, Behaviour { finite: false, ..SOUND }, SOUND];
    let outcomes = PretendedLab::new(behaviours).tune(3.0).unwrap();
    assert_eq!(outcomes.iter().map(winner).collect::<Vec<_>>(), [None, None, Some("first")]);
    let mut lab = PretendedLab::new(vec![SOUND; 2]);
    lab.lost = true;
    assert!(lab.tune(3.0).is_err() && !lab.is_open);
}

#[test]
fn without_time_for_enough_samples_nothing_is_decided() {
    let mut decided = Vec::new();
    for budget in 1..200 {
        let mut lab = PretendedLab::new(vec![Behaviour { times: [0.1, 0.1, 0.1, 0.2], ..SOUND }]);
        let outcome = lab.tune(f64::from(budget) * 0.02).unwrap().remove(0);
        decided.push(outcome.winner.is_some());
    }
    assert!(!decided[0] && decided[198] && decided.is_sorted(), "{decided:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// If devices behave as they did a moment ago, and rules know how slow a simple kernel may be, the budget is
    /// kept, and the winner is correct and no other candidate is clearly faster.
    #[test]
    fn the_budget_holds_and_winners_are_right(
        drawn in prop::collection::vec(
            (prop::array::uniform3(1e-5..0.2f64), 1.0..20.0f64, prop::array::uniform3(any::<bool>())), 1..20),
        budget in 0.0..5.0f64,
        moving in 0.0..5e-3f64,
    ) {
        let behaviours: Vec<Behaviour> = drawn.into_iter().map(|(times, ratio, wrong)| {
            let slowest = times.into_iter().fold(0.0, f64::max);
            Behaviour { times: [times[0], times[1], times[2], slowest * ratio], wrong, ..SOUND }
        }).collect();
        let mut lab = PretendedLab { moving, ..PretendedLab::new(behaviours.clone()) };
        let outcomes = lab.tune(budget).unwrap();
        // The duration of the first operation's start and of the first answer's transfer cannot be predicted.
        let unforeseen = lab.compile + 2.0 * lab.start + 4.0 * lab.moving;
        prop_assert!(lab.now <= budget + unforeseen, "{} s of {budget}", lab.now);
        for (outcome, behaviour) in outcomes.iter().zip(&behaviours) {
            let Some(won) = winner(outcome) else { continue };
            let names = ["first", "second", "third"];
            let right = (0..3).filter(|&number| !behaviour.wrong[number]);
            let least = right.clone().map(|number| behaviour.times[number]).fold(f64::INFINITY, f64::min);
            match names.iter().position(|name| *name == won) {
                Some(number) => {
                    prop_assert!(!behaviour.wrong[number]);
                    prop_assert!(behaviour.times[number] * 0.97 <= least + 1e-9);
                }
                None => prop_assert!(won == "direct" && right.count() == 0),
            }
        }
    }
}
