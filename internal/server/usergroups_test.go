package server

import (
	"strings"
	"testing"

	"quire/internal/query"
)

func TestUserGroups(t *testing.T) {
	t.Parallel()
	c, err := profilesOf(t, `
oidc: {issuer: "https://login.example.com", clientID: quire}
userGroups:
  research: {members: [kim, bob]}
  etl: {claims: [data-engineering]}
connections:
  team:
    engine: duckdb
    shared: true
    users: ["*"]
    readOnly: true
    groups: {etl: {readOnly: false}}
  dwh:
    engine: postgres
    dsn: env:DWH
    groups:
      research: {maxRows: 1000, maxBytes: 1048576, timeout: 1m, parallel: 2}
  orders: {engine: sqlite, dsn: shared/orders.db}
`)
	if err != nil {
		t.Fatal(err)
	}
	rights := groupRights(c.Connections["dwh"].Groups)["research"]
	if want := (query.Limits{MaxRows: 1000, MaxBytes: 1 << 20, Timeout: 60e9, Parallel: 2}); rights.Limits != want || rights.ReadOnly != nil {
		t.Errorf("%+v, want %+v", rights, want)
	}
	if r := groupRights(c.Connections["team"].Groups)["etl"].ReadOnly; r == nil || *r {
		t.Errorf("etl only reads: %v", r)
	}
	if c.groupsClaim() != "groups" {
		t.Errorf("groups are read from %q", c.groupsClaim())
	}
	_, err = profilesOf(t, `
userGroups:
  Wrong: {members: [kim]}
  empty: {}
  odd: {members: ["Not A Name"], claims: [x]}
profiles:
  one: {groups: [nobody, odd]}
  two: {groups: [odd]}
connections:
  a: {engine: postgres, dsn: env:X, parallel: 2, groups: {nobody: {}, odd: {maxRows: -1, parallel: 3}}}
  b: {engine: sqlite, dsn: "file:/data/x.db", shared: true, groups: {odd: {readOnly: false}}}
`)
	if err == nil {
		t.Fatal("it was taken")
	}
	for _, want := range []string{
		"userGroups: Wrong: want a name", "userGroups: empty: name its members", `userGroups: odd: members: "Not A Name" is no user's name`,
		"userGroups: odd: claims: nobody signs in elsewhere", `profiles: one: groups: "nobody" is not in userGroups: there are Wrong, empty, odd`,
		"profiles: two: groups: odd has one already", `connections: a: groups: "nobody" is not in userGroups`, "connections: a: groups: odd: no limit may be below 0",
		"connections: a: groups: odd: parallel: 3 is above the connection's, which is 2", "connections: b: shared: only a catalog of duckdb is",
		"connections: b: dsn: of sqlite it is the path of the file itself", "connections: b: groups: odd: readOnly: connections to sqlite only read",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing says %q in\n%v", want, err)
		}
	}
}
