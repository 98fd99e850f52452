// Package rootless lets an ordinary user run what needs root: inside a user
// namespace, where the user is root over namespaces made there and over
// nothing else.
//
// The holder is one process of the user's, this program under the name
// HolderName: PID 1 of a PID namespace in a user and a mount namespace of its
// own, but in the network namespace of the machine. It stands for a machine
// that is switched on. What runs inside are its descendants, so its end is a
// power cut that leaves no process, mount or namespace; and it outlives the
// engine, so a killed engine's containers and networks are found again by the
// next one. It does three things for the user it belongs to, on a socket in a
// directory of that user's:
//
//	run     start this program inside, with the client's streams, signals and
//	        exit status; what becomes of it when the client dies, the client
//	        said before
//	listen  open a port in the machine's network namespace and hand the socket
//	        over: how ports published inside are reached from outside
//	end     end, if nothing runs inside any more or in any case
//
// A client (Enter) starts the holder where there is none. Clients hold a shared
// lock on the directory while they use it and an exclusive one to start or end
// it; the kernel frees both.
//
// The users and groups inside are those /etc/subuid and /etc/subgid give the
// user, mapped by newuidmap(1) and newgidmap(1). Without these there is a
// single one, root, who is the user: files of images belong to root then
// whatever they say, and no process can become anybody else.
//
// What runs inside is in a network namespace made there, which reaches nothing
// outside by itself. Where slirp4netns(1) is installed and may use /dev/net/tun
// it is the way out (Config.Egress).
package rootless
