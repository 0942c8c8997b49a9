//! A solver that puts answers on the board.

use std::sync::Arc;

use nolapse::core::failure::{Failure, Fault};
use nolapse::core::name::SolverId;
use nolapse::core::order::ChallengeTask;
use nolapse::core::record::{ChallengeKind, Receipt};
use nolapse::ports::{Reply, Solver};

use crate::board::Board;
use crate::crash::Points;
use crate::script::{Script, Trouble};

pub struct BoardSolver {
    pub id: SolverId,
    pub board: Board,
    pub script: Script,
    pub points: Arc<Points>,
}

impl Solver for BoardSolver {
    fn kinds(&self) -> &[ChallengeKind] {
        &[ChallengeKind::Http01]
    }

    fn receipt<'a>(&'a self, task: &'a ChallengeTask) -> Reply<'a, Result<Receipt, Failure>> {
        Box::pin(std::future::ready(Ok(Receipt {
            solver: self.id.clone(),
            kind: task.kind,
            name: task.name.clone(),
            token: task.token.clone(),
            place: format!("board/{}", task.token.as_str()),
            by: None,
        })))
    }

    fn present<'a>(&'a self, task: &'a ChallengeTask) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async move {
            self.points.pass().await;
            if self.script.strikes(&Trouble::SolverFails) {
                return Err(broken("could not be set up"));
            }
            self.board.put(&task.token, &task.key_authorization);
            self.points.pass().await;
            Ok(())
        })
    }

    fn confirm<'a>(&'a self, task: &'a ChallengeTask) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async move {
            if self.board.shows(&task.token, &task.key_authorization) {
                Ok(())
            } else {
                Err(broken("is not seen from here"))
            }
        })
    }

    fn clean_up<'a>(&'a self, receipt: &'a Receipt) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async move {
            self.points.pass().await;
            if self.script.strikes(&Trouble::CleanUpFails) {
                return Err(broken("could not be removed"));
            }
            self.board.take_down(&receipt.token);
            self.points.pass().await;
            Ok(())
        })
    }

    fn able(&self) -> Reply<'_, Result<(), Failure>> {
        Box::pin(async move {
            if self.script.strikes(&Trouble::SolverFails) { Err(broken("can't be set up")) } else { Ok(()) }
        })
    }
}

fn broken(what: &str) -> Failure {
    Failure::transient(Fault::Host, "solver-failed", format!("the answer {what}"))
}
