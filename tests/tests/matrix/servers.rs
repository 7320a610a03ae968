//! Servers: started, asked by several clients at once, stopped; all their answers are compared.

use super::Program;

pub const SERVERS: &[Program] = &[
    Program {
        name: "redis-server",
        package: "redis-server",
        work: "forks a child that saves under load",
        line: r#"redis-server --port 0 --unixsocket s --dir . --save '' --daemonize no --logfile log &
until redis-cli -s s ping 2>/dev/null | grep -q PONG; do sleep 0.05; done
redis-benchmark -s s -n 5000 -r 2000 -c 10 -P 4 -q -t set,lpush,hset,zadd > /dev/null
redis-cli -s s flushall; redis-cli -s s eval 'for i = 1, 2000 do redis.call("set", "k" .. i, i) end' 0
redis-cli -s s bgsave; until redis-cli -s s info persistence | grep -q bgsave_in_progress:0; do sleep 0.05; done
redis-cli -s s debug nothing; redis-cli -s s dbsize; redis-cli -s s shutdown save; wait $!; echo $?
rm -f dump.rdb log"#,
    },
    Program {
        name: "memcached",
        package: "memcached",
        work: "four threads, three clients at once",
        line: r#"chmod 777 .; memcached -u nobody -s $PWD/s -a 777 -t 4 -m 16 -P $PWD/pid & m=$!
until test -S s; do sleep 0.05; done
cat > client.py <<'END'
import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect("s"); f = s.makefile("rwb")
me, bad = sys.argv[1], 0
for i in range(1500):
    f.write(b"set %s%d 0 0 %d\r\n%s\r\n" % (me.encode(), i % 300, i % 900, b"x" * (i % 900))); f.flush()
    bad += f.readline() != b"STORED\r\n"
for i in range(300):
    f.write(b"get %s%d\r\n" % (me.encode(), i)); f.flush()
    bad += not f.readline().startswith(b"VALUE"); f.readline(); bad += f.readline() != b"END\r\n"
print(me, bad)
END
for c in a b c; do python3 -S client.py $c > out.$c & p="$p $!"; done; wait $p; cat out.*
kill -TERM $m; wait $m; echo $?; rm -f s pid"#,
    },
    Program {
        name: "nginx",
        package: "nginx-light",
        work: "a master and two workers, clients at once, a reload under load",
        line: r#"mkdir logs; cat > c <<END
daemon off; worker_processes 2; pid pid; error_log logs/e; events { worker_connections 64; }
http { access_log off; client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3;
uwsgi_temp_path t4; scgi_temp_path t5; gzip on; gzip_types *; gzip_min_length 1;
server { listen unix:$PWD/s; root $PWD; location /x { return 418 no; } } }
END
nginx -p $PWD/ -c c & n=$!; until test -S s && test -s pid; do sleep 0.05; done
get() { curl -sS --compressed --unix-socket s "$@"; }
for c in 1 2 3; do (for i in $(seq 8); do get http://h/words; done | cksum > out.$c) & p="$p $!"; done
get -o /dev/null -w '%{http_code}\n' http://h/x; kill -HUP $n; wait $p; cat out.*
get -o /dev/null -w '%{http_code}\n' http://h/nothing; kill -QUIT $n; wait $n; echo $?
rm -rf logs t? s pid"#,
    },
    Program {
        name: "haproxy",
        package: "haproxy",
        work: "threads that pass on what memory holds",
        line: r#"cat > c <<END
global
  nbthread 2
defaults
  mode http
  timeout client 20s
  timeout server 20s
  timeout connect 20s
frontend f
  bind unix@$PWD/s
  http-request return status 200 content-type text/plain file source.c if { path /words }
  http-request deny
END
haproxy -db -f c 2>/dev/null & h=$!; until test -S s; do sleep 0.05; done
get() { curl -sS --unix-socket s "$@"; }
for c in 1 2 3; do (for i in $(seq 5); do get http://h/words; done | cksum > out.$c) & p="$p $!"; done
wait $p; cat out.*; get -w '%{http_code}\n' http://h/; kill -TERM $h; { wait $h; } 2>/dev/null; echo $?; rm -f s"#,
    },
    Program {
        name: "psql",
        package: "postgresql",
        work: "PostgreSQL: initdb, a back end for each of four clients at once, an error",
        line: r#"PATH=$(echo /usr/lib/postgresql/*/bin | sed 's/.* //'):$PATH
cat > run.sh <<'END'
initdb -D d -A trust -N -U u --no-instructions --no-locale -E UTF8 > log
echo "fsync=off
shared_buffers=2MB
listen_addresses=''
max_wal_size=32MB
unix_socket_directories='$PWD'" >> d/postgresql.conf
postgres -D d > log 2>&1 & s=$!
export PGHOST=$PWD PGUSER=u PGDATABASE=postgres
until psql -qc 'select' >/dev/null 2>&1; do sleep 0.1; done
psql -qAt -c 'create table t as select i, md5(i::text) m from generate_series(1, 3000) i'
psql -qAt -c 'create index on t (m)'
for c in 1 2 3 4; do (for n in 1 2 3; do psql -qAt -c "update t set m = m || '$c' where i % 4 = $c - 1" \
-c "select count(*), sum(length(m)) from t where i % 4 = $c - 1"; done > out.$c) & p="$p $!"; done
wait $p; cat out.*; psql -qAt -c 'select m from t order by m limit 3' -c 'select nothing'
pg_ctl -D d -m fast stop; wait $s; echo $?; rm -rf d log
END
if [ $(id -u) = 0 ]; then chown nobody . && setpriv --reuid=nobody --clear-groups sh run.sh
else sh run.sh; fi"#,
    },
];
