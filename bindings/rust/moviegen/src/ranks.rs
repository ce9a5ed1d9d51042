// SPDX-License-Identifier: MIT
//! Ranks: contexts, in threads or processes, that work together.

use crate::raw::{c_text, Shared};
use crate::{Context, Result};
use moviegen_sys as sys;
use std::fmt;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

/// Milliseconds for the library; None = no limit.
fn milliseconds(timeout: Option<Duration>) -> i64 {
    timeout.map_or(-1, |time| {
        time.as_millis().clamp(1, i64::MAX as u128) as i64
    })
}

/// How long ranks wait for each other unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(600);

/// Where threads of this process meet as ranks, each with a context that [joins](Context::join).
///
/// ```no_run
/// # use moviegen::*;
/// # fn f(ctx: &mut Context) -> Result<()> {
/// let ranks = Ranks::new(ctx, 2, None)?;
/// std::thread::scope(|scope| {
///     for rank in 0..2 {
///         let ranks = &ranks;
///         scope.spawn(move || -> Result<()> {
///             let mut ctx = Context::new()?;
///             ctx.join(&MeshParams { axes: Some("dp=2"), ..MeshParams::thread(ranks, rank) })?;
///             let params = TrainerParams::new("recipe.json", "tae", "model");
///             let mut trainer = Trainer::new(&mut ctx, &params)?;
///             trainer.run(0)
///         });
///     }
/// });
/// # Ok(())
/// # }
/// ```
pub struct Ranks(Shared<sys::mgen_ranks>);

impl Ranks {
    /// For `size` threads, whose calls wait so long for ranks that are late; None = no limit.
    pub fn new(ctx: &mut Context, size: u32, timeout: Option<Duration>) -> Result<Ranks> {
        let mut raw = ptr::null_mut();
        let raw_ctx = ctx.enter();
        // Safety: the context lives and is ours; the handle is ours.
        let status =
            unsafe { sys::mgen_ranks_create(raw_ctx, size, milliseconds(timeout), &mut raw) };
        let ranks = Ranks(Shared::new(raw));
        ctx.check(status).map(|()| ranks)
    }
}

impl Drop for Ranks {
    fn drop(&mut self) {
        // Safety: the handle is ours; meshes keep what they need.
        unsafe { sys::mgen_ranks_destroy(self.0.take()) }
    }
}

impl fmt::Debug for Ranks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ranks").finish_non_exhaustive()
    }
}

/// How a context joins the other ranks.
#[derive(Clone, Copy, Debug)]
pub struct MeshParams<'a> {
    /// How ranks are divided, such as "dp=2,tp=2"; None = all of them over dp.
    pub axes: Option<&'a str>,
    /// Where threads meet; None = the processes of an mpirun, through the MPI plug-in.
    pub ranks: Option<&'a Ranks>,
    /// Which of the threads this is.
    pub rank: u32,
    /// For processes: how long calls wait for ranks that are late; None = no limit.
    pub timeout: Option<Duration>,
    /// GPUs exchange by way of the host's memory instead of by NCCL.
    pub by_host: bool,
}

impl<'a> MeshParams<'a> {
    /// This process among those of an mpirun.
    pub fn process() -> MeshParams<'a> {
        MeshParams {
            axes: None,
            ranks: None,
            rank: 0,
            timeout: Some(PATIENCE),
            by_host: false,
        }
    }

    /// This thread among others.
    pub fn thread(ranks: &'a Ranks, rank: u32) -> MeshParams<'a> {
        MeshParams {
            ranks: Some(ranks),
            rank,
            ..MeshParams::process()
        }
    }

    pub(crate) fn create(
        &self,
        ctx: *mut sys::mgen_context,
    ) -> Result<(*mut sys::mgen_mesh, sys::mgen_status)> {
        let axes = self.axes.map(|axes| c_text("axes", axes)).transpose()?;
        let params = sys::mgen_mesh_params {
            rank: self.rank,
            ranks: self.ranks.map_or(ptr::null_mut(), |ranks| ranks.0.get()),
            axes: axes.as_ref().map_or(ptr::null(), |axes| axes.as_ptr()),
            timeout_ms: milliseconds(self.timeout),
            by_host: self.by_host.into(),
            ..Default::default()
        };
        let mut mesh = ptr::null_mut();
        // Safety: the caller has the context; all pointers live during the call.
        let status = unsafe { sys::mgen_mesh_create(ctx, &params, &mut mesh) };
        Ok((mesh, status))
    }
}

/// Ends the work of all ranks. `Send`, `Sync`, and harmless when the context is gone.
#[derive(Clone)]
pub struct MeshAborter(pub(crate) Arc<Shared<sys::mgen_mesh>>);

impl MeshAborter {
    /// Calls of every rank return [`ErrorKind::PeerLost`](crate::ErrorKind::PeerLost), those under
    /// way too.
    pub fn abort(&self) {
        // Safety: any thread may abort a mesh that lives.
        self.0.with(|mesh| unsafe { sys::mgen_mesh_abort(mesh) });
    }
}

impl fmt::Debug for MeshAborter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeshAborter").finish_non_exhaustive()
    }
}
