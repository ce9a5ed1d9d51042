// SPDX-License-Identifier: MIT
//! Ranks: contexts, in threads or processes, that work together.

use crate::raw::{c_text, PanicSlot, Shared};
use crate::{Context, Error, Result};
use moviegen_sys as sys;
use std::cell::Cell;
use std::fmt;
use std::os::raw::c_void;
use std::ptr;
use std::slice;
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

/// The host's own way for processes to meet: given the bytes of this rank, it answers with those of
/// all ranks, one after the other, or with None to give up, which is
/// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled); too few or too many are
/// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid). Called once.
#[derive(Clone, Copy)]
pub struct Exchange<'a>(&'a dyn Fn(&[u8]) -> Option<Vec<u8>>);

impl<'a> Exchange<'a> {
    /// By this function.
    pub fn new(f: &'a dyn Fn(&[u8]) -> Option<Vec<u8>>) -> Exchange<'a> {
        Exchange(f)
    }
}

impl fmt::Debug for Exchange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").finish_non_exhaustive()
    }
}

/// What the library gets as `user` of an exchange.
struct Exchanging<'a> {
    exchange: Exchange<'a>,
    size: u32,
    panic: &'a PanicSlot,
    wrong: Cell<Option<String>>,
}

unsafe extern "C" fn on_exchange(
    user: *mut c_void,
    mine: *const c_void,
    all: *mut c_void,
    bytes: u64,
) -> i32 {
    // Safety: `user` lives during mgen_mesh_create(), which calls this.
    let this = unsafe { &*(user as *const Exchanging<'_>) };
    // Safety: so many bytes the library has there.
    let (mine, all) = unsafe {
        (
            slice::from_raw_parts(mine.cast::<u8>(), bytes as usize),
            slice::from_raw_parts_mut(all.cast::<u8>(), bytes as usize * this.size as usize),
        )
    };
    this.panic.catch(1, || match (this.exchange.0)(mine) {
        Some(theirs) if theirs.len() == all.len() => {
            all.copy_from_slice(&theirs);
            0
        }
        Some(theirs) => {
            this.wrong.set(Some(format!(
                "exchange gave {} bytes; {} ranks gave {bytes} each",
                theirs.len(),
                this.size
            )));
            1
        }
        None => 1,
    })
}

/// How a context joins the other ranks: a thread by `ranks`, a process by `meet` or `exchange` or,
/// without all three, as one of an mpirun, through the MPI plug-in.
#[derive(Clone, Copy, Debug)]
pub struct MeshParams<'a> {
    /// How ranks are divided, such as "dp=2,tp=2"; None = all of them over dp.
    pub axes: Option<&'a str>,
    /// Where threads meet; None = processes.
    pub ranks: Option<&'a Ranks>,
    /// Where processes meet: "tcp://host:port", where rank 0 listens, or "file:///path".
    pub meet: Option<&'a str>,
    /// Or how.
    pub exchange: Option<Exchange<'a>>,
    /// With either, the run's name: ranks that give another are refused.
    pub run: Option<&'a str>,
    /// And how many ranks there are.
    pub size: u32,
    /// Which of them this is; those of an mpirun know.
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
            meet: None,
            exchange: None,
            run: None,
            size: 0,
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

    /// One of `size` processes that meet at an address.
    pub fn meeting(address: &'a str, rank: u32, size: u32) -> MeshParams<'a> {
        MeshParams {
            meet: Some(address),
            rank,
            size,
            ..MeshParams::process()
        }
    }

    /// One of `size` processes that meet in the host's own way.
    pub fn exchanging(exchange: Exchange<'a>, rank: u32, size: u32) -> MeshParams<'a> {
        MeshParams {
            exchange: Some(exchange),
            rank,
            size,
            ..MeshParams::process()
        }
    }

    pub(crate) fn create(
        &self,
        ctx: *mut sys::mgen_context,
        panic: &PanicSlot,
    ) -> Result<(*mut sys::mgen_mesh, sys::mgen_status)> {
        let axes = self.axes.map(|axes| c_text("axes", axes)).transpose()?;
        let meet = self.meet.map(|meet| c_text("meet", meet)).transpose()?;
        let run = self.run.map(|run| c_text("run", run)).transpose()?;
        let mut exchanging = self.exchange.map(|exchange| Exchanging {
            exchange,
            size: self.size,
            panic,
            wrong: Cell::new(None),
        });
        let params = sys::mgen_mesh_params {
            meet: meet.as_ref().map_or(ptr::null(), |meet| meet.as_ptr()),
            run: run.as_ref().map_or(ptr::null(), |run| run.as_ptr()),
            exchange: match exchanging {
                Some(_) => Some(on_exchange),
                None => None,
            },
            user: exchanging
                .as_mut()
                .map_or(ptr::null_mut(), |e| (e as *mut Exchanging<'_>).cast()),
            size: self.size,
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
        match exchanging.and_then(|exchanging| exchanging.wrong.take()) {
            Some(wrong) if mesh.is_null() => Err(Error::invalid(wrong)),
            _ => Ok((mesh, status)),
        }
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
