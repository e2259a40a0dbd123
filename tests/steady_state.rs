//! What an exchange costs once all is warm: no allocation, two system calls.

use fcgate_kit::{Application, Reply};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::{CString, c_void};
use std::process::Command;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// Counts what the calling thread allocates.
struct Counting;

// SAFETY: everything is passed on to the system's allocator.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Where a child process of the test below finds its pool.
const CHILD: &str = "FCGATE_TEST_STEADY_POOL";
const EXCHANGES: u64 = 500;

#[allow(unsafe_code)]
mod c {
    use super::*;
    use fcgate::capi::{error::*, forward::*, gateway::*, head::*, info::*, request::*};

    unsafe extern "C" fn head(user: *mut c_void, head: *const fcgate_head) -> i32 {
        // SAFETY: `user` is the counter handed in below, `head` is lent.
        unsafe { *user.cast::<u64>() += u64::from(fcgate_head_status(head) == 200) };
        FCGATE_OK
    }

    /// Sends GETs with 20 params and headers through the C API, as a server would.
    pub fn run(pool: &str, warm: u64, count: u64) -> u64 {
        let line = CString::new(format!("{pool} max_connections=2 script_exists=off")).unwrap();
        // SAFETY: all pointers are valid for the calls.
        unsafe {
            let gateway = fcgate_open(line.as_ptr(), std::ptr::null_mut());
            assert!(!gateway.is_null());
            let request = fcgate_request_new();
            let mut answered = 0u64;
            let handler = fcgate_handler { head: Some(head), ..fcgate_handler::default() };
            let mut info: fcgate_info = std::mem::zeroed();
            info.struct_size = size_of::<fcgate_info>() as u32;
            let mut before = 0;
            for n in 0..warm + count {
                if n == warm {
                    before = COUNT.get();
                }
                fcgate_request_clear(request);
                let fact = |fact, value: &str| {
                    fcgate_request_fact(request, fact, value.as_ptr().cast(), value.len());
                };
                fact(FCGATE_METHOD, "GET");
                fact(FCGATE_TARGET, "/index.php/some/path?with=a&query=string");
                fact(FCGATE_PROTOCOL, "HTTP/1.1");
                fact(FCGATE_DOCUMENT_ROOT, "/nowhere/at/all");
                fact(FCGATE_REMOTE_ADDR, "127.0.0.1");
                for (name, value) in [
                    ("Host", "www.example.org"),
                    ("Accept", "*/*"),
                    ("Cookie", "a=b"),
                    ("Cookie", "c=d"),
                    ("User-Agent", "x"),
                ] {
                    let (n, v) = (name.as_ptr().cast(), value.as_ptr().cast());
                    fcgate_request_header(request, n, name.len(), v, value.len());
                }
                let user = (&raw mut answered).cast();
                let status = fcgate_forward(
                    gateway,
                    std::ptr::null(),
                    request,
                    &handler,
                    user,
                    &mut info,
                    std::ptr::null_mut(),
                );
                assert_eq!(status, FCGATE_OK);
            }
            let allocations = COUNT.get() - before;
            assert_eq!(answered, warm + count);
            assert_eq!(info.reused, 1);
            fcgate_request_free(request);
            fcgate_gateway_free(gateway);
            allocations
        }
    }
}

fn application() -> Application {
    Application::unix().reply(Reply::page(200, "a page of a hundred bytes or so")).start()
}

/// An exchange on a kept connection allocates nothing.
#[test]
fn a_kept_exchange_allocates_nothing() {
    if std::env::var_os(CHILD).is_some() {
        return;
    }
    let application = application();
    assert_eq!(c::run(&application.address().to_string(), 50, EXCHANGES), 0);
}

/// An exchange on a kept connection takes two system calls: one send, one receive. strace counts
/// them in a child process, of which this same test is the body.
#[test]
fn a_kept_exchange_takes_two_system_calls() {
    if let Ok(pool) = std::env::var(CHILD) {
        c::run(&pool, 50, EXCHANGES);
        return;
    }
    let application = application();
    let output = Command::new("strace")
        .args(["-f", "-qq", "-e", "signal=none", "-o", "/dev/stdout"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "a_kept_exchange_takes_two_system_calls", "--test-threads=1"])
        .env(CHILD, application.address())
        .output()
        .expect("strace is not installed (Debian: apt-get install strace)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let trace = String::from_utf8_lossy(&output.stdout);
    // What one thread does between its first and its last send.
    let sends: Vec<(usize, &str)> =
        trace.lines().enumerate().filter(|(_, line)| line.contains("sendmsg(")).collect();
    assert_eq!(sends.len() as u64, 50 + EXCHANGES);
    let thread = sends[100].1.split_whitespace().next().unwrap();
    let (first, last) = (sends[100].0, sends[500].0);
    let between: Vec<&str> = trace
        .lines()
        .skip(first)
        .take(last - first)
        .filter(|line| line.split_whitespace().next() == Some(thread) && !line.contains("resumed>"))
        .collect();
    let others: Vec<&&str> =
        between.iter().filter(|line| !line.contains("sendmsg(") && !line.contains("recvfrom(")).collect();
    assert!(others.is_empty(), "{:?}", &others[..others.len().min(5)]);
    assert_eq!(between.len(), 800);
}
