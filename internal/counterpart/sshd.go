package counterpart

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// SSHServer is OpenSSH's own server on loopback. It lets in whoever runs the
// test, by one key, and starts what they ask for, such as git-upload-pack.
type SSHServer struct {
	Address    string // host and port
	User       string
	KeyFile    string // private key that it lets in
	KnownHosts string // known_hosts file that holds the server's key
	Log        string // what the servers of all connections said
}

// URL is how Git reaches the repository in a folder.
func (s *SSHServer) URL(dir string) string { return "ssh://" + s.User + "@" + s.Address + dir }

// asRoot starts a server as root in a place of its own: it wants an account of
// the name sshd and an empty folder, which a machine without one does not have.
const asRoot = `mount --bind "$1" /etc/passwd && mount -t tmpfs tmpfs /run && mkdir -p /run/sshd && shift && exec "$@"`

// SSHD starts the server. It is sshd for each connection, as inetd does it, so
// that nothing is left running.
func SSHD(tb testing.TB) *SSHServer {
	tb.Helper()
	sshd := filepath.Join(installed(tb, "sshd"), "bin", "sshd")
	me, err := user.Current()
	if err != nil {
		tb.Fatal(err)
	}
	dir := tb.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	s := &SSHServer{User: me.Username, KeyFile: path("key"), KnownHosts: path("known_hosts"), Log: path("log")}
	for _, key := range []string{"host", "key"} {
		out, err := exec.CommandContext(tb.Context(), "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path(key)).CombinedOutput()
		if err != nil {
			absent(tb, "sshd", fmt.Sprintf("ssh-keygen: %v %s", err, out))
		}
	}
	write := func(name, content string) {
		if err := os.WriteFile(path(name), []byte(content), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	write("sshd_config", strings.Join([]string{
		"HostKey " + path("host"), "AuthorizedKeysFile " + path("key.pub"), "PidFile none", "StrictModes no", "UsePAM no",
		"PasswordAuthentication no", "KbdInteractiveAuthentication no", "PermitRootLogin prohibit-password", "LogLevel VERBOSE", "",
	}, "\n"))
	command := []string{sshd, "-i", "-e", "-f", path("sshd_config")}
	if me.Uid == "0" {
		write("passwd", "root:x:0:0::"+dir+":/bin/sh\nsshd:x:74:74::/run/sshd:/bin/false\n")
		command = append([]string{"unshare", "--mount", "sh", "-c", asRoot, "sh", path("passwd")}, command...)
		if out, err := exec.CommandContext(tb.Context(), "unshare", "--mount", "true").CombinedOutput(); err != nil {
			absent(tb, "sshd", fmt.Sprintf("root needs a mount namespace for it: %v %s", err, out))
		}
	}

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s.Address = listener.Addr().String()
	host, err := os.ReadFile(path("host.pub"))
	if err != nil {
		tb.Fatal(err)
	}
	name, port, _ := net.SplitHostPort(s.Address)
	write("known_hosts", "["+name+"]:"+port+" "+string(host))
	log, err := os.OpenFile(s.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		tb.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return // the test is over
			}
			served.Go(func() { serveSSH(connection.(*net.TCPConn), log, command) })
		}
	})
	tb.Cleanup(func() {
		_ = listener.Close()
		served.Wait()
		_ = log.Close()
		if tb.Failed() {
			said, _ := os.ReadFile(s.Log)
			tb.Logf("sshd said:\n%s", said)
		}
	})
	return s
}

// serveSSH serves one connection to its end.
func serveSSH(connection *net.TCPConn, log *os.File, command []string) {
	socket, err := connection.File()
	_ = connection.Close() // socket is a descriptor of its own
	if err != nil {
		return
	}
	defer socket.Close()
	server := exec.Command(command[0], command[1:]...)
	server.Env = []string{"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin"}
	server.Stdin, server.Stdout, server.Stderr = socket, socket, log
	_ = server.Run() // how it ended is the client's to see
}
