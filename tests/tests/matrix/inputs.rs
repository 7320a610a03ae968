//! What each program finds in its folder, and what it left there.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

const C: &str = "\
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }
int main(void) {
    char *names[500];
    for (int i = 0; i < 500; i++) {
        names[i] = malloc(16);
        snprintf(names[i], 16, \"n%d\", i * 7919 % 997);
    }
    qsort(names, 500, sizeof *names, compare);
    printf(\"%s %s\\n\", names[0], names[499]);
    for (int i = 0; i < 500; i++)
        free(names[i]);
    return 7;
}
";

const CPP: &str = "\
#include <iostream>
#include <map>
#include <stdexcept>
#include <thread>
#include <vector>
struct Early { std::map<int, std::string> names; Early() { for (int i = 0; i < 100; i++) names[i] = std::string(i, 'x'); } };
static Early early;
static thread_local std::vector<std::string> own;
int main() {
    int caught = 0;
    auto work = [&](int *n) {
        for (int i = 0; i < 200; i++) {
            own.emplace_back(50, 'y');
            try { throw std::runtime_error(std::string(100, 'z')); } catch (const std::exception &e) { ++*n; }
        }
    };
    int counts[4] = {};
    std::vector<std::thread> threads;
    for (int &n : counts) threads.emplace_back(work, &n);
    for (auto &t : threads) t.join();
    for (int n : counts) caught += n;
    try { std::vector<char> huge(size_t(1) << 62); } catch (const std::bad_alloc &) { caught++; } catch (const std::length_error &) { caught += 2; }
    std::cout << caught << ' ' << early.names[99].size() << std::endl;
}
";

/// Fills a fresh folder: 4,000 numbers a line each, a tree of files, two programs.
pub fn write(folder: &Path) {
    let numbers = |of: u64| {
        (1..=of).fold(String::new(), |mut text, n| {
            let _ = writeln!(text, "{}", n * 7919 % 100_003);
            text
        })
    };
    fs::create_dir_all(folder.join("tree/below")).expect("a folder can be made");
    let mut files = vec![
        ("words".to_string(), numbers(4000)),
        ("source.c".into(), C.into()),
        ("source.cpp".into(), CPP.into()),
    ];
    for n in 0..12 {
        let below = if n % 3 == 0 { "below/" } else { "" };
        files.push((format!("tree/{below}file{n}"), numbers(50 * n)));
    }
    for (name, text) in files {
        fs::write(folder.join(name), text).expect("a file can be written");
    }
}

/// The files that a program left, by their paths, and links with where they lead.
#[derive(PartialEq, Eq)]
pub struct Left(BTreeMap<String, Vec<u8>>);

impl Left {
    pub fn of(folder: &Path) -> Self {
        let mut files = BTreeMap::new();
        collect(folder, "", &mut files);
        Self(files)
    }

    pub fn assert_same(&self, other: &Self, name: &str) {
        let names = |left: &Self| left.0.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(self), names(other), "{name} leaves other files");
        for (path, content) in &self.0 {
            assert!(other.0.get(path) == Some(content), "{name} leaves another {path}");
        }
    }
}

fn collect(folder: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).expect("a folder can be read") {
        let entry = entry.expect("a folder can be read");
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().expect("a file has a type");
        if kind.is_dir() {
            files.insert(format!("{path}/"), Vec::new());
            collect(&entry.path(), &format!("{path}/"), files);
        } else if kind.is_symlink() {
            let to = fs::read_link(entry.path()).expect("a link can be read");
            files.insert(path, to.into_os_string().into_encoded_bytes());
        } else if kind.is_file() {
            files.insert(path, fs::read(entry.path()).expect("a file can be read"));
        }
    }
}
