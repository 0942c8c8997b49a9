//! The filter of system calls that a unit's lines ask for, as a program for the kernel. systemd
//! makes the same with libseccomp; here it is made by hand for x86-64, and loaded by Python, as no
//! code of ours may be `unsafe`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use crate::sandbox::Unit;

/// The keys of a unit that the filter stands for.
pub const KEYS: [&str; 9] = [
    "SystemCallFilter",
    "SystemCallErrorNumber",
    "SystemCallArchitectures",
    "RestrictAddressFamilies",
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "LockPersonality",
    "MemoryDenyWriteExecute",
];

/// Loads the program in the file that is its first argument, then becomes the rest of them.
pub const LOADER: &str = r"import ctypes, os, sys

program = open(sys.argv[1], 'rb').read()
code = ctypes.create_string_buffer(program)

class Fprog(ctypes.Structure):
    _fields_ = [('len', ctypes.c_ushort), ('filter', ctypes.c_void_p)]

libc = ctypes.CDLL(None, use_errno=True)
fprog = Fprog(len(program) // 8, ctypes.addressof(code))
# PR_SET_SECCOMP, SECCOMP_MODE_FILTER
if libc.prctl(22, 2, ctypes.byref(fprog), 0, 0) != 0:
    sys.exit('prctl: ' + os.strerror(ctypes.get_errno()))
os.execvp(sys.argv[2], sys.argv[2:])
";

const HEADERS: [&str; 2] = ["/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"];
const ARCH_X86_64: u32 = 0xc000_003e;
const ALLOW: u32 = 0x7fff_0000;
const ERRNO_EPERM: u32 = 0x0005_0001;

// Of struct seccomp_data: the call, the architecture, and the low halves of arguments.
const CALL: u32 = 0;
const ARCH: u32 = 4;
const fn argument(number: u32) -> u32 {
    16 + 8 * number
}

const LOAD: u16 = 0x20;
const EQUALS: u16 = 0x15;
const HAS_ANY: u16 = 0x45;
const RETURN: u16 = 0x06;
const MASK: u16 = 0x54;

/// One instruction: code, jumps when true and false, operand.
type Step = (u16, u8, u8, u32);

pub struct Filter(Vec<Step>);

impl Filter {
    /// What the unit's lines come to; why not, where a tool or table is missing.
    pub fn of(unit: &Unit) -> Result<Self, String> {
        if std::env::consts::ARCH != "x86_64" {
            return Err("it is made for x86-64 only".into());
        }
        for tool in ["systemd-analyze", "python3"] {
            Command::new(tool).arg("--version").output().map_err(|_| format!("{tool} is not installed"))?;
        }
        let numbers = numbers()?;
        assert_eq!(
            unit.says("SystemCallErrorNumber"),
            Some("EPERM"),
            "another answer than this filter gives"
        );
        assert_eq!(unit.says("SystemCallArchitectures"), Some("native"));
        for key in [
            "RestrictNamespaces",
            "RestrictRealtime",
            "RestrictSUIDSGID",
            "LockPersonality",
            "MemoryDenyWriteExecute",
        ] {
            assert_eq!(unit.says(key), Some("yes"), "{key}=");
        }
        let mut allowed = BTreeSet::new();
        for rule in unit.all("SystemCallFilter") {
            match rule.strip_prefix('~') {
                Some(denied) => allowed = &allowed - &expanded(denied),
                None => allowed.extend(expanded(rule)),
            }
        }
        let mut filter =
            Self(vec![(LOAD, 0, 0, ARCH), (EQUALS, 1, 0, ARCH_X86_64), (RETURN, 0, 0, ERRNO_EPERM)]);
        let number = |name: &str| numbers.get(name).copied();
        // MemoryDenyWriteExecute: nothing that is written and run, nothing made runnable.
        for (name, bits) in [("mmap", 6), ("mprotect", 4), ("pkey_mprotect", 4)] {
            if let Some(call) = number(name) {
                filter.deny_all_of(call, 2, bits);
            }
        }
        // RestrictNamespaces: CLONE_NEW*.
        let new = 0x7e02_0080;
        for (name, place) in [("clone", 0), ("unshare", 0), ("setns", 1)] {
            if let Some(call) = number(name) {
                filter.deny_any_of(call, place, new);
            }
        }
        // RestrictSUIDSGID: modes with those bits.
        for (name, place) in [("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("mkdir", 1), ("mkdirat", 2)] {
            if let Some(call) = number(name) {
                filter.deny_any_of(call, place, 0o6000);
            }
        }
        // RestrictAddressFamilies: a list of what is allowed.
        let families: Vec<u32> = unit
            .says("RestrictAddressFamilies")
            .unwrap_or_default()
            .split_whitespace()
            .map(|family| match family {
                "AF_UNIX" => 1,
                "AF_INET" => 2,
                "AF_INET6" => 10,
                "AF_NETLINK" => 16,
                other => panic!("{other}: which number?"),
            })
            .collect();
        if let Some(call) = number("socket").filter(|_| !families.is_empty()) {
            filter.only(call, 0, &families);
        }
        // RestrictRealtime and LockPersonality: the plain schedules, the plain execution domain.
        if let Some(call) = number("sched_setscheduler") {
            filter.only(call, 1, &[0, 3, 5]);
        }
        if let Some(call) = number("personality") {
            filter.only(call, 0, &[0, 0xffff_ffff]);
        }
        // clone3 hides its flags; answered as by a kernel without it, as systemd does.
        allowed.remove("clone3");
        let mut calls: BTreeSet<u32> = allowed.iter().filter_map(|name| number(name)).collect();
        // The loader becomes the program after the filter is in force.
        calls.extend(number("execve"));
        filter.0.push((LOAD, 0, 0, CALL));
        if let Some(call) = number("clone3") {
            filter.0.extend([(EQUALS, 0, 1, call), (RETURN, 0, 0, 0x0005_0026)]);
        }
        for call in calls {
            filter.0.extend([(EQUALS, 0, 1, call), (RETURN, 0, 0, ALLOW)]);
        }
        filter.0.push((RETURN, 0, 0, ERRNO_EPERM));
        Ok(filter)
    }

    fn deny_any_of(&mut self, call: u32, place: u32, bits: u32) {
        self.0.extend([
            (LOAD, 0, 0, CALL),
            (EQUALS, 0, 3, call),
            (LOAD, 0, 0, argument(place)),
            (HAS_ANY, 0, 1, bits),
            (RETURN, 0, 0, ERRNO_EPERM),
        ]);
    }

    fn deny_all_of(&mut self, call: u32, place: u32, bits: u32) {
        self.0.extend([
            (LOAD, 0, 0, CALL),
            (EQUALS, 0, 4, call),
            (LOAD, 0, 0, argument(place)),
            (MASK, 0, 0, bits),
            (EQUALS, 0, 1, bits),
            (RETURN, 0, 0, ERRNO_EPERM),
        ]);
    }

    /// The call with any other value in that place is refused.
    fn only(&mut self, call: u32, place: u32, values: &[u32]) {
        let count = u8::try_from(values.len()).unwrap();
        self.0.extend([(LOAD, 0, 0, CALL), (EQUALS, 0, count + 2, call), (LOAD, 0, 0, argument(place))]);
        for (at, value) in (0u8..).zip(values) {
            self.0.push((EQUALS, count - at, 0, *value));
        }
        self.0.push((RETURN, 0, 0, ERRNO_EPERM));
    }

    /// As the kernel reads it.
    pub fn program(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * 8);
        for (code, yes, no, operand) in &self.0 {
            bytes.extend_from_slice(&code.to_le_bytes());
            bytes.extend_from_slice(&[*yes, *no]);
            bytes.extend_from_slice(&operand.to_le_bytes());
        }
        bytes
    }
}

fn numbers() -> Result<BTreeMap<String, u32>, String> {
    let text = HEADERS
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok())
        .ok_or("no table of system calls (Debian: apt install linux-libc-dev)")?;
    let rows = text.lines().filter_map(|line| line.strip_prefix("#define __NR_")?.split_once(' '));
    Ok(rows.filter_map(|(name, number)| Some((name.to_owned(), number.trim().parse().ok()?))).collect())
}

/// The calls that a list of names and `@groups` stands for.
fn expanded(words: &str) -> BTreeSet<String> {
    let mut calls = BTreeSet::new();
    for word in words.split_whitespace() {
        if !word.starts_with('@') {
            calls.insert(word.to_owned());
            continue;
        }
        let output =
            Command::new("systemd-analyze").args(["syscall-filter", "--no-pager", word]).output().unwrap();
        let list = String::from_utf8_lossy(&output.stdout).into_owned();
        // Below a headline and a comment, one name a line, indented.
        let names = list.lines().filter(|line| line.starts_with("    ")).map(str::trim);
        for name in names.filter(|name| !name.starts_with('#')) {
            calls.extend(expanded(name));
        }
    }
    calls
}
