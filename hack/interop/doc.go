// Package interop runs our relay and client against the programs of others, as
// their authors released them: the moq-relay, moq-clock and moq-karp of the
// MoqTransfork family, and the moq-relay and moq-cli that speak moq-lite. It is
// all tests: a row for each pair of roles and each transport or version, in which
// real processes speak over loopback.
//
// The programs are looked for in the folder that MOQ_PEERS_DIR names, as
// NAME-VERSION/bin/NAME; hack/peers/build.sh puts them there. Where one is not
// there, its rows are skipped and say so. `make interop` runs the rows and ends
// with a table of them.
//
// A row waits for things to happen and never sleeps, every wait is bounded, and
// a process is ended by the row that started it.
package interop
