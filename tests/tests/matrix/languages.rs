//! Languages: interpreters, virtual machines and compilers, each with work for its heap, threads
//! and children where it has them.

use super::Program;

pub const LANGUAGES: &[Program] = &[
    Program {
        name: "python3",
        package: "python3",
        work: "dictionaries, threads, a pool of forked workers, a child",
        line: r#"PYTHONHASHSEED=0 python3 -c '
import json, re, subprocess, threading, multiprocessing
words = [re.sub("[0-3]", "x", str(i * 7919)) for i in range(5000)]
threads = [threading.Thread(target=lambda: json.loads(json.dumps(words))) for _ in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map(len, [words, words[:9]]))
print(subprocess.run(["echo", "child"], capture_output=True).stdout, len(set(words)))
raise SystemExit(3)'"#,
    },
    Program {
        name: "python3, PYTHONMALLOC=malloc",
        package: "python3",
        work: "each small object is a block of malloc",
        line: r#"PYTHONMALLOC=malloc PYTHONHASHSEED=0 python3 -S -c '
import threading
def work(n): return sum(len([str(i)]) for i in range(n))
threads = [threading.Thread(target=work, args=[5000]) for _ in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
try: bytearray(1 << 62)
except MemoryError: print("MemoryError")
print(len({str(i): [i] for i in range(20000)}))'"#,
    },
    Program {
        name: "perl",
        package: "perl",
        work: "hashes, regular expressions, fork and wait, a pipe",
        line: r#"PERL_HASH_SEED=0 perl -e '
my %c; $c{ $_ * 7919 % 503 } .= $_ for 1 .. 5000;
my $t = join ",", map { "$_=" . length $c{$_} } sort keys %c; $t =~ s/(\d+)=/<$1>/g;
for my $n (1 .. 3) { my $p = fork; if (!$p) { exit $n } waitpid $p, 0; print $? >> 8, "\n" }
print length $t, `echo pipe`; exit 4'"#,
    },
    Program {
        name: "ruby",
        package: "ruby",
        work: "collections of garbage, threads, fork, exceptions",
        line: r#"ruby -e '
h = {}; 20000.times { |i| h["k#{i}"] = [i] * 3 }; GC.start
t = 4.times.map { |i| Thread.new { (1..2000).map(&:to_s).join.length + i } }
puts h.size, t.map(&:value).inspect, IO.popen("echo pipe").read
pid = fork { puts "x" * 10; exit 5 }; Process.wait pid; puts $?.exitstatus
begin; raise "out"; rescue => e; puts e.message; end; GC.compact; exit 6'"#,
    },
    Program {
        name: "php",
        package: "php-cli",
        work: "arrays, regular expressions, json, a child",
        line: r#"php -n -r '
$a = []; for ($i = 0; $i < 20000; $i++) $a["k$i"] = str_repeat("x", $i % 50);
echo count($a), strlen(json_encode($a)), preg_replace("/x+/", "y", $a["k7"]), "\n";
echo shell_exec("echo child"); unset($a); gc_collect_cycles(); exit(7);'"#,
    },
    Program {
        name: "node",
        package: "nodejs",
        work: "maps, buffers, a worker thread, a child",
        line: r#"node -e '
const { Worker } = require("worker_threads"), { execSync } = require("child_process");
const m = new Map(); for (let i = 0; i < 20000; i++) m.set("k" + i % 997, [i]);
const b = Array.from({ length: 50 }, (_, i) => Buffer.alloc(i * 1000, 1));
console.log(m.size, Buffer.concat(b).length, execSync("echo child").toString());
new Worker("require(\"worker_threads\").parentPort.postMessage(6 * 7)", { eval: true })
  .on("message", n => { console.log(n); process.exitCode = 6 })'"#,
    },
    Program {
        name: "java",
        package: "default-jre-headless",
        work: "keytool makes a key: compiler threads, collector, class loading",
        line: r#"keytool -J-Xmx64m -genkeypair -alias a -keyalg EC -dname CN=a -storepass secret \
-keypass secret -keystore store 2>&1 | sed 's/:.*//'
rm store
java -Xmx64m -XX:NativeMemoryTracking=summary NoSuchClass; echo $?"#,
    },
    Program {
        name: "fzf",
        package: "fzf",
        work: "Go with cgo: goroutines on many threads",
        line: "for word in 13 777 zz; do fzf --filter=$word < words; echo $?; done",
    },
    Program {
        name: "rg",
        package: "ripgrep",
        work: "Rust: searches a tree with several threads",
        line: "rg --no-config -j 4 --sort path -c 7 tree words; rg --no-config -e '[' .; echo $?",
    },
    Program {
        name: "lua5.4",
        package: "lua5.4",
        work: "tables, closures, strings, collections",
        line: r#"lua5.4 -e '
local t = {} for i = 1, 20000 do t[i] = { tostring(i):rep(3), function() return i end } end
local n = 0 for i, v in ipairs(t) do n = n + #v[1] + v[2]() end print(n) t = nil
collectgarbage() print(pcall(string.rep, "x", 1 << 60)) os.exit(8)' "#,
    },
    Program {
        name: "luajit",
        package: "luajit",
        work: "code made at run time, an allocator of its own",
        line: r#"luajit -e '
local t = {} for i = 1, 50000 do t[i % 1000 + 1] = { tostring(i) } end
local s = 0 for i = 1, 1000 do s = s + tonumber(t[i][1]) end print(s)'"#,
    },
    Program {
        name: "tclsh",
        package: "tcl",
        work: "lists, dictionaries, a pipe; the script comes by its input",
        line: r#"tclsh <<'END'
for {set i 0} {$i < 5000} {incr i} { dict set d k[expr {$i % 97}] [string repeat x $i] }
puts [dict size $d]; puts [exec echo pipe]; puts [llength [lsort [dict keys $d]]]; exit 9
END"#,
    },
    Program {
        name: "guile",
        package: "guile-3.0",
        work: "a conservative collector that reads stacks and registers",
        line: r#"GUILE_AUTO_COMPILE=0 guile --no-auto-compile -c '
(define (build n) (if (= n 0) (list) (cons (make-string 10 #\x) (build (- n 1)))))
(display (length (build 20000))) (gc) (newline) (exit 4)'"#,
    },
    Program {
        name: "swipl",
        package: "swi-prolog-nox",
        work: "stacks that grow and shrink, findall, threads",
        line: r#"swipl -q -g 'numlist(1,20000,L), findall(X-Y, (member(X,L), Y is X mod 7), P),
length(P,N), thread_create(atom_length(abc,_), T), thread_join(T, S), writeln(N-S)' -t 'halt(5)'"#,
    },
    Program {
        name: "erl",
        package: "erlang-base",
        work: "a virtual machine with schedulers and allocators of its own",
        line: r#"HOME=. erl -noshell -noinput +S 2 -eval '
Self = self(), [spawn(fun() -> Self ! lists:sum(lists:seq(1, N)) end) || N <- lists:seq(1, 500)],
io:format("~p~n", [lists:sum([receive X -> X end || _ <- lists:seq(1, 500)])]), halt(3).'"#,
    },
    Program {
        name: "gawk",
        package: "gawk",
        work: "arrays, regular expressions, a pipe to sort",
        line: r#"gawk '{ n[$1 % 97] += $1; gsub(/7/, "seven"); l += length }
END { print l; for (i in n) print i, n[i] | "sort -n"; close("sort -n"); exit 2 }' words"#,
    },
    Program {
        name: "mawk",
        package: "mawk",
        work: "arrays and concatenation",
        line: r#"mawk '{ s = s $1; c[substr($1, 1, 3)]++ } END { n = 0; for (i in c) n++
print length(s), n }' words"#,
    },
    Program {
        name: "gcc",
        package: "gcc",
        work: "compiler, assembler and linker, and what they made",
        line: "gcc -O2 -g -frandom-seed=1 -o made source.c && ./made; echo $?; gcc -c nothing.c",
    },
    Program {
        name: "g++",
        package: "g++",
        work: "a C++ program with exceptions, static constructors and threads",
        line: "g++ -O1 -frandom-seed=1 -pthread -o made source.cpp && ./made",
    },
    Program {
        name: "tcc",
        package: "tcc",
        work: "compiles into memory and runs there",
        line: "tcc -run source.c; echo $?",
    },
    Program {
        name: "nasm",
        package: "nasm",
        work: "assembles",
        line: r#"seq 1000 | sed 's/.*/l&: mov eax, &\n jmp l&/' > code.asm
nasm -f elf64 -o code.o code.asm && cksum < code.o"#,
    },
    Program {
        name: "make",
        package: "make",
        work: "-j 4: compilers side by side, an archive",
        line: r#"for i in 1 2 3 4 5 6; do echo "int f$i(int x) { return x * $i; }" > m$i.c; done
printf '%s\n' 'all: m.a' 'm.a: m1.o m2.o m3.o m4.o m5.o m6.o' '	ar rcD $@ $^' > Makefile
make -s -j 4 CFLAGS=-O1 && nm m.a; make -s nothing 2>&1; echo $?"#,
    },
];
