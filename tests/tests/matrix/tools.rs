//! Tools: what scripts and services call all day, alone and in pipelines.

use super::Program;

pub const TOOLS: &[Program] = &[
    Program {
        name: "bash",
        package: "bash",
        work: "arrays, pipelines, subshells, substitutions, a job in the background",
        line: r#"bash -c 'for i in {1..30}; do a[i]=$(printf "%05d" $i); done; echo ${#a[@]}
sort -r <(printf "%s\n" "${a[@]}") | head -3; (exit 3); echo $?; sleep 0 & wait $!
{ echo one; echo two; } | while read w; do echo "<$w>"; done; kill -TERM $$'"#,
    },
    Program {
        name: "dash",
        package: "dash",
        work: "functions, here-documents, traps, exec into the same process",
        line: r#"dash -c 'f() { cat <<END
$1 $(echo inner)
END
}
trap "echo trapped" USR1; kill -USR1 $$; i=0
while [ $i -lt 200 ]; do s="$s$i"; i=$((i+1)); done; f ${#s}; exec echo replaced'"#,
    },
    Program {
        name: "zsh",
        package: "zsh",
        work: "arrays, globbing, modules",
        line: r#"zsh -f -c 'zmodload zsh/mathfunc; a=({1..2000}); print ${#a} ${(j:,:)a[1,5]}
print -l tree/**/*(.oN) | tail -2; print $((int(sqrt(1764)))); return 5'"#,
    },
    Program {
        name: "git",
        package: "git",
        work: "a repository: add, commit, branches, merge, repack, fsck, grep with threads",
        line: r#"export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 HOME=.
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_AUTHOR_DATE='2024-01-01T00:00:00Z'
export GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b GIT_COMMITTER_DATE='2024-01-01T00:00:00Z'
cd tree; git init -q -b main; git config gc.auto 0; git add -A; git commit -q -m one
git checkout -q -b side; echo more >> file1; git commit -qam two; git checkout -q main
echo other >> file2; git commit -qam three; git merge -q -m four side; git log --stat --graph
git grep --threads=4 -c 7 | tail -3; git repack -a -d -q; git fsck --strict; git show nothing
rm -rf .git"#,
    },
    Program {
        name: "sqlite3",
        package: "sqlite3",
        work: "a database on disk: index, transaction, vacuum, an error",
        line: r#"sqlite3 base.db <<'END'
pragma journal_mode = wal;
create table o (id integer primary key, name text, cents integer);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000)
  insert into o select i, 'customer ' || (i % 97), (i * 7919) % 100000 from n;
create index by_name on o (name);
select name, count(*), sum(cents) from o group by name order by 3 desc limit 5;
delete from o where id % 3 = 0; vacuum; select count(*), sum(cents) from o;
select * from nothing;
END
echo $?; rm base.db*"#,
    },
    Program {
        name: "tar",
        package: "tar",
        work: "an archive through gzip and back",
        line: r#"tar --sort=name --mtime=@0 --owner=0 --group=0 -cf all.tar tree && cksum < all.tar
tar -czf all.tgz tree && mkdir out && tar -xzf all.tgz -C out && diff -r tree out/tree
rm all.tgz; tar -tf nothing"#,
    },
    Program {
        name: "gzip",
        package: "gzip",
        work: "there and back",
        line: "gzip -9nk words; gzip -dc words.gz | cksum; echo x | gzip -d",
    },
    Program {
        name: "bzip2",
        package: "bzip2",
        work: "there and back",
        line: "bzip2 -k words; bzip2 -dc words.bz2 | cksum; echo x | bzip2 -d",
    },
    Program {
        name: "xz",
        package: "xz-utils",
        work: "two threads, small blocks",
        line: "xz -k -T2 --block-size=32KiB words; xz -dc -T2 words.xz | cksum; echo x | xz -d",
    },
    Program {
        name: "zstd",
        package: "zstd",
        work: "two threads, a dictionary",
        line: "zstd -q -T2 -15 words; zstd -q --train tree/* -o d --maxdict=4096 -B512 2>/dev/null
rm -f d; zstd -dc words.zst | cksum; echo x | zstd -d",
    },
    Program {
        name: "pigz",
        package: "pigz",
        work: "four threads",
        line: "pigz -p 4 -b 32 -n -c words > w.gz; pigz -dc w.gz | cmp - words; cksum < w.gz",
    },
    Program {
        name: "zip",
        package: "zip",
        work: "an archive and its list",
        line: "TZ=UTC touch -d 2020-01-01 words; zip -q -X all.zip words && unzip -p all.zip | cmp - words
rm all.zip; zip nothing; echo $?",
    },
    Program {
        name: "rsync",
        package: "rsync",
        work: "two processes that talk, differences only",
        line: r#"rsync -a tree/ copy && echo more >> tree/file3 && rsync -a -c --no-whole-file tree/ copy
diff -r tree copy && rsync -a nothing copy 2>&1 | tail -1"#,
    },
    Program {
        name: "openssl",
        package: "openssl",
        work: "digests, ciphers, a key, a certificate",
        line: r#"openssl dgst -sha256 words; openssl enc -aes-256-cbc -pbkdf2 -nosalt -k x -in words | cksum
openssl genrsa -out key 1024 2>/dev/null; openssl req -new -x509 -key key -subj /CN=a -out c
openssl x509 -in c -noout -subject; openssl verify -CAfile c c; rm key c; openssl nothing"#,
    },
    Program {
        name: "ssh-keygen",
        package: "openssh-client",
        work: "a key and its type",
        line: "ssh-keygen -q -t ed25519 -N '' -C a -f key && ssh-keygen -l -f key | cut -d' ' -f1,3-
rm key key.pub; ssh-keygen -l -f nothing",
    },
    Program {
        name: "curl",
        package: "curl",
        work: "files, resolver threads, a name that does not exist",
        line: r#"curl -sS file://$PWD/words | cksum; curl -sS file://$PWD/nothing; echo $?
(curl -sS --max-time 20 http://localhost:1/; echo $?) 2>&1 | sed 's/after [0-9]* ms//'"#,
    },
    Program {
        name: "jq",
        package: "jq",
        work: "filters, groups, an error",
        line: r#"seq 3000 | jq -s 'map({k: (. % 7), v: .}) | group_by(.k) | map({(.[0].k | tostring):
map(.v) | add}) | add' ; echo '{' | jq ."#,
    },
    Program {
        name: "sed",
        package: "sed",
        work: "back references, the hold space, in place",
        line: r#"sed -E 's/([0-9])([0-9])/\2\1/g; N; P; D' words | cksum; cp words w
sed -i '1!G;h;$!d' w && cksum < w; sed 's/(/' -E words"#,
    },
    Program {
        name: "grep",
        package: "grep",
        work: "regular expressions with and without back references",
        line: r#"grep -c '7.*7' words; grep -cE '(.)\1' words; grep -rl 12 tree | sort; grep -P '(a' words"#,
    },
    Program {
        name: "sort",
        package: "coreutils",
        work: "threads, runs on disk",
        line: "sort --parallel=4 -S 100K words | cksum; sort -n -u words | comm -23 - words 2>&1 | wc -l",
    },
    Program {
        name: "find",
        package: "findutils",
        work: "xargs with four processes at once",
        line: r#"find tree -type f -print0 | xargs -0 -P 4 -n 5 cksum | sort -k 3; find nothing -exec true \;"#,
    },
    Program {
        name: "diff",
        package: "diffutils",
        work: "a large difference",
        line: "sort words > a; diff -u --label a --label b a words | cksum; diff -r tree a",
    },
    Program {
        name: "vim",
        package: "vim",
        work: "-es: substitutions, undo, a script",
        line: r#"vim -es -u NONE -i NONE -n -c '%s/7/seven/g' -c '2,500d' -c 'undo' -c 'g/12/m0' \
-c 'let x = map(range(2000), "v:val * 2")' -c 'call append(0, string(x[-1]))' -c 'w! out' -c 'qa!' words
echo $?; cksum < out"#,
    },
    Program {
        name: "gdb",
        package: "gdb",
        work: "a breakpoint and a backtrace in a traced program",
        line: r#"gcc -g -O0 -o made source.c; gdb -nx -q -batch -ex 'set startup-with-shell off' \
-ex 'break compare' -ex run -ex 'bt -frame-arguments none' -ex 'delete' -ex continue ./made 2>&1 |
grep -E '^#[01]|exited|Breakpoint 1,' | sed 's/0x[0-9a-f]*/ADDRESS/g; s/process [0-9]*/process/'; rm made"#,
    },
    Program {
        name: "strace",
        package: "strace",
        work: "follows a shell and its children",
        line: "strace -f -o list sh -c 'echo a; (exit 4)'; echo $?; grep -c execve list; rm list",
    },
    Program {
        name: "identify",
        package: "imagemagick",
        work: "with convert: resize, blur, rotate, PNG",
        line: r#"convert -size 160x120 gradient:red-blue -blur 0x3 -resize 50% -rotate 30 p.ppm
cksum < p.ppm; identify -format '%m %w %h %k\n' p.ppm; convert p.ppm -strip -define png:exclude-chunks=date,time p.png; rm p.png; convert nothing.png x.png"#,
    },
    Program {
        name: "gs",
        package: "ghostscript",
        work: "PostScript to pixels",
        line: r#"printf '%%!\n/Times-Roman findfont 40 scalefont setfont 50 100 moveto (text) show
1 1 200 { dup 2 mul exch moveto 300 300 lineto stroke } for showpage\n' > p.ps
gs -q -dBATCH -dNOPAUSE -dSAFER -sDEVICE=pgmraw -r36 -sOutputFile=- p.ps | cksum
gs -q -dBATCH -sDEVICE=nullpage nothing.ps; echo $?"#,
    },
    Program {
        name: "dot",
        package: "graphviz",
        work: "layout by plug-ins that are loaded late",
        line: r#"(echo 'digraph {'; for i in $(seq 60); do echo "n$i -> n$((i * 7 % 61))"; done; echo '}') > g
dot -Tplain g | cksum; dot -Tdot g | tail -3; echo 'graph {' | dot"#,
    },
    Program {
        name: "gnuplot",
        package: "gnuplot-nox",
        work: "a plot in characters",
        line: r#"gnuplot -e "set terminal dumb 60 20; plot sin(x), 'words' every 400"; gnuplot nothing"#,
    },
    Program {
        name: "groff",
        package: "groff",
        work: "three processes in a pipeline",
        line: r#"(echo .TH A 1; for i in $(seq 200); do echo ".SH S$i"; echo text; done) > a.1
groff -t -man -Tascii a.1 | cksum; groff -man -Tascii nothing"#,
    },
    Program {
        name: "xmllint",
        package: "libxml2-utils",
        work: "a tree, XPath, an error",
        line: r#"(echo '<a>'; seq 2000 | sed 's:.*:<b c="&">&</b>:'; echo '</a>') > d.xml
xmllint --xpath 'sum(//b[@c mod 7 = 0])' d.xml; xmllint --format d.xml | cksum; echo '<a>' | xmllint -"#,
    },
    Program {
        name: "xsltproc",
        package: "xsltproc",
        work: "a transformation",
        line: r#"(echo '<a>'; seq 500 | sed 's:.*:<b>&</b>:'; echo '</a>') > d.xml
echo '<x:stylesheet version="1.0" xmlns:x="http://www.w3.org/1999/XSL/Transform"><x:output
method="text"/><x:template match="b"><x:value-of select=". * 2"/></x:template></x:stylesheet>' > s.xsl
xsltproc s.xsl d.xml | cksum; xsltproc nothing.xsl d.xml"#,
    },
    Program {
        name: "bison",
        package: "bison",
        work: "a parser, with m4 as a child",
        line: r#"printf '%%token N\n%%%%\ne: e "+" t | t; t: t "*" N | N;\n%%%%\n' > g.y
bison -Wno-other -o g.c g.y && cksum < g.c; printf 'e' > h.y; bison h.y"#,
    },
    Program {
        name: "flex",
        package: "flex",
        work: "a scanner",
        line: r#"(echo '%%'; for w in $(seq 300); do echo "w$w return $w;"; done; echo '%%') > s.l
flex -L -o s.c s.l && cksum < s.c"#,
    },
    Program {
        name: "m4",
        package: "m4",
        work: "recursive macros",
        line: "echo 'changequote([,])define([f], [ifelse($1, 0, 0, [eval($1 + f(eval($1 - 1)))])])f(300)
include(nothing)' | m4",
    },
    Program {
        name: "bc",
        package: "bc",
        work: "numbers of a thousand digits",
        line: "echo 'scale = 300; 4 * a(1); 2 ^ 3000; 1 / 0' | bc -l",
    },
    Program {
        name: "readelf",
        package: "binutils",
        work: "reads, strips and compares objects",
        line: r#"gcc -g -frandom-seed=1 -c source.c -o o.o; readelf -Wa o.o | cksum; objdump -dr o.o | cksum
strip -g o.o; nm o.o; size o.o; readelf -h words"#,
    },
    Program {
        name: "dpkg-deb",
        package: "dpkg",
        work: "a package and its contents",
        line: r#"mkdir -p p/DEBIAN p/usr; cp words p/usr; printf 'Package: a\nVersion: 1\nArchitecture: all
Maintainer: a <a@b>\nDescription: a\n' > p/DEBIAN/control; touch -d @0 p/usr/words p/usr
dpkg-deb --root-owner-group -b p a.deb >/dev/null && dpkg-deb -f a.deb; dpkg-deb -x a.deb q && ls q/usr
rm a.deb; dpkg-deb -f words"#,
    },
];
