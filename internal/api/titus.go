package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"quire/internal/problem"
)

// Titus's messages by their field numbers, as in titus_job_api.proto and
// titus_base.proto of Netflix/titus-api-definitions (Apache-2.0). Their JSON is
// that of the REST API, so that a message is turned into JSON and back, and both
// APIs are one behind it. "map" is map<string, string>; "refused" is a field that
// nothing here can do and that a message must not have; "none" is a message of
// which only whether it is there counts. An enum with "!" is its first value where
// it is not there.
var titusText = map[string]string{
	"Owner":                "1 teamEmail string",
	"JobGroupInfo":         "1 stack string; 2 detail string; 3 sequence string",
	"Constraints":          "1 constraints map; 2 expression string",
	"Image":                "1 name string; 2 tag string; 3 digest string",
	"NetworkConfiguration": "1 networkMode NetworkMode",
	"ContainerResources": "1 cpu double; 2 gpu number; 3 memoryMB number; 4 diskMB number; 5 networkMbps number; 6 allocateIP bool; " +
		"7 efsMounts []EfsMount; 8 shmSizeMB number; 9 signedAddressAllocations []none; 10 pool refused; 11 staticIPAddressIDs refused",
	"EfsMount":        "1 efsId string; 2 mountPoint string; 3 mountPerm MountPerm!; 4 efsRelativeMountPoint string",
	"SecurityProfile": "1 securityGroups []string; 2 iamRole string; 3 attributes map",
	"Container": "1 resources ContainerResources; 2 securityProfile SecurityProfile; 3 image Image; 4 attributes map; 5 entryPoint []string; " +
		"6 command []string; 7 env map; 8 softConstraints Constraints; 9 hardConstraints Constraints; 10 experimental none; 11 volumeMounts []none",
	"Capacity": "1 min number; 2 max number; 3 desired number",
	"JobDisruptionBudget": "1 selfManaged SelfManaged; 2 availabilityPercentageLimit AvailabilityPercentageLimit; 3 unhealthyTasksLimit UnhealthyTasksLimit; " +
		"4 relocationLimit RelocationLimit; 5 rateUnlimited none; 6 ratePercentagePerHour RatePercentagePerHour; 7 timeWindows []TimeWindow; " +
		"8 containerHealthProviders []ContainerHealthProvider; 9 ratePerInterval RatePerInterval; 10 ratePercentagePerInterval RatePercentagePerInterval",
	"SelfManaged":                 "1 relocationTimeMs number",
	"AvailabilityPercentageLimit": "1 percentageOfHealthyContainers double",
	"UnhealthyTasksLimit":         "1 limitOfUnhealthyContainers number",
	"RelocationLimit":             "1 limit number",
	"RatePercentagePerHour":       "1 maxPercentageOfContainersRelocatedInHour double",
	"RatePerInterval":             "1 intervalMs number; 2 limitPerInterval number",
	"RatePercentagePerInterval":   "1 intervalMs number; 2 percentageLimitPerInterval double",
	"TimeWindow":                  "1 days []Day; 2 hourlyTimeWindows []HourlyTimeWindow; 3 timeZone string",
	"HourlyTimeWindow":            "1 startHour number; 2 endHour number",
	"ContainerHealthProvider":     "1 name string; 3 attributes map",
	"RetryPolicy":                 "1 immediate Immediate; 2 delayed Delayed; 3 exponentialBackOff ExponentialBackOff",
	"Immediate":                   "1 retries number",
	"Delayed":                     "1 initialDelayMs number; 2 delayMs number; 3 retries number",
	"ExponentialBackOff":          "1 initialDelayMs number; 2 maxDelayIntervalMs number; 3 retries number",
	"BatchJobSpec":                "1 size number; 2 runtimeLimitSec number; 3 retryPolicy RetryPolicy; 4 retryOnRuntimeLimit bool",
	"MigrationPolicy":             "1 systemDefault none; 2 selfManaged none",
	"ServiceJobSpec": "1 capacity Capacity; 2 enabled bool; 3 retryPolicy RetryPolicy; 4 migrationPolicy MigrationPolicy; " +
		"5 serviceJobProcesses ServiceJobProcesses",
	"ServiceJobProcesses": "1 disableIncreaseDesired bool; 2 disableDecreaseDesired bool",
	"JobDescriptor": "1 owner Owner; 3 applicationName string; 4 capacityGroup string; 5 jobGroupInfo JobGroupInfo; 6 attributes map; " +
		"7 container Container; 8 batch BatchJobSpec; 9 service ServiceJobSpec; 10 disruptionBudget JobDisruptionBudget; " +
		"11 networkConfiguration NetworkConfiguration; 12 extraContainers []none; 13 volumes []none; 14 platformSidecars []none",
	"JobStatus":   "1 state JobState; 2 reasonCode string; 3 reasonMessage string; 4 timestamp number",
	"TaskStatus":  "1 state TaskState; 2 reasonCode string; 3 reasonMessage string; 4 timestamp number",
	"LogLocation": "1 ui Address; 2 liveStream Address",
	"Address":     "1 url string",
	"Version":     "1 timestamp number",
	"Task": "1 id string; 2 jobId string; 3 taskContext map; 4 status TaskStatus; 5 statusHistory []TaskStatus; 6 logLocation LogLocation; " +
		"8 attributes map; 9 version Version",
	"Job":                   "1 id string; 2 jobDescriptor JobDescriptor; 3 status JobStatus; 4 statusHistory []JobStatus; 5 version Version",
	"JobChangeNotification": "1 jobUpdate JobUpdate; 2 taskUpdate TaskUpdate; 3 snapshotEnd none; 4 timestamp number",
	"JobUpdate":             "1 job Job; 2 archived bool",
	"TaskUpdate":            "1 task Task; 2 movedFromAnotherJob bool; 3 archived bool",
	"JobId":                 "1 id string",
	"TaskId":                "1 id string",
	"Page":                  "1 pageNumber number; 2 pageSize number; 3 cursor string",
	"Pagination":            "1 currentPage Page; 2 hasMore bool; 3 totalPages number; 4 totalItems number; 5 cursor string; 6 cursorPosition number",
	"JobQuery":              "1 page Page; 2 filteringCriteria map; 5 fields []string",
	"TaskQuery":             "1 page Page; 2 filteringCriteria map; 3 fields []string",
	"ObserveJobsQuery":      "1 filteringCriteria map; 2 jobFields []string; 3 taskFields []string",
	"JobQueryResult":        "1 items []Job; 2 pagination Pagination",
	"TaskQueryResult":       "1 items []Task; 2 pagination Pagination",
	"TaskKillRequest":       "1 taskId string; 2 shrink bool; 3 preventMinSizeUpdate bool",
	"Empty":                 "",
}

// titusEnums are the names of enums, by their numbers from 0 on.
var titusEnums = map[string][]string{
	"NetworkMode": {"UnknownNetworkMode", "Ipv4Only", "Ipv6AndIpv4", "Ipv6AndIpv4Fallback", "Ipv6Only", "HighScale"},
	"MountPerm":   {"RO", "WO", "RW"},
	"Day":         {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"},
	"JobState":    {"Accepted", "KillInitiated", "Finished"},
	"TaskState":   {"Accepted", "Launched", "StartInitiated", "Started", "KillInitiated", "Disconnected", "Finished"},
}

// A titusField is one field of a message.
type titusField struct {
	number protowire.Number
	name   string
	kind   string // string, number, bool, double, map, none, refused, or the name of an enum or a message
	list   bool
	always bool // its first value stands where it is not there
}

// titusMessages are the messages of titusText.
var titusMessages = sync.OnceValue(func() map[string][]titusField {
	all := map[string][]titusField{"none": nil}
	for name, text := range titusText {
		var fields []titusField
		for part := range strings.SplitSeq(text, "; ") {
			words := strings.Fields(part)
			if len(words) != 3 {
				continue // it has none
			}
			number, _ := strconv.Atoi(words[0]) //nolint:errcheck // the table is a constant, and tested
			f := titusField{number: protowire.Number(number), name: words[1]}
			f.kind, f.list = strings.CutPrefix(words[2], "[]")
			f.kind, f.always = strings.CutSuffix(f.kind, "!")
			fields = append(fields, f)
		}
		all[name] = fields
	}
	return all
})

var errTitusWire = problem.New(problem.Invalid, "the message is not protobuf, or is cut off")

// titusJSON turns a message into the JSON of the REST API. Fields that are not
// known are left out, as protobuf has it.
func titusJSON(message string, data []byte) ([]byte, error) {
	value, err := readTitus(message, data)
	if err != nil {
		return nil, err
	}
	return json.Marshal(value)
}

func readTitus(message string, data []byte) (map[string]any, error) {
	fields := titusMessages()[message]
	out := map[string]any{}
	for _, f := range fields {
		if f.always && !f.list {
			out[f.name] = titusEnums[f.kind][0]
		}
	}
	for len(data) > 0 {
		number, wire, n := protowire.ConsumeTag(data)
		if n < 0 {
			return nil, errTitusWire
		}
		data = data[n:]
		size := protowire.ConsumeFieldValue(number, wire, data)
		if size < 0 {
			return nil, errTitusWire
		}
		at := slices.IndexFunc(fields, func(f titusField) bool { return f.number == number })
		if at >= 0 {
			if err := fields[at].read(out, wire, data[:size]); err != nil {
				return nil, err
			}
		}
		data = data[size:]
	}
	return out, nil
}

// read puts one occurrence of a field into a message's JSON.
func (f titusField) read(out map[string]any, wire protowire.Type, data []byte) error {
	if f.list && wire == protowire.BytesType && f.wire() == protowire.VarintType { // packed
		packed, _ := protowire.ConsumeBytes(data)
		for len(packed) > 0 {
			n := protowire.ConsumeFieldValue(f.number, protowire.VarintType, packed)
			if n < 0 {
				return errTitusWire
			}
			if err := f.read(out, protowire.VarintType, packed[:n]); err != nil {
				return err
			}
			packed = packed[n:]
		}
		return nil
	}
	if f.kind == "refused" {
		return problem.New(problem.Invalid, "%s is not supported here", f.name)
	}
	if wire != f.wire() {
		return problem.New(problem.Invalid, "%s: it has another type than Titus's", f.name)
	}
	value, err := f.value(data)
	if err != nil {
		return err
	}
	switch {
	case f.list:
		list, _ := out[f.name].([]any)
		out[f.name] = append(list, value)
	case f.kind == "map":
		all, _ := out[f.name].(map[string]any)
		if all == nil {
			all = map[string]any{}
			out[f.name] = all
		}
		pair := value.(map[string]any) //nolint:forcetypeassert // value made it
		all[pair["key"].(string)] = pair["value"]
	default:
		out[f.name] = value
	}
	return nil
}

// wire is how a value of the field is on the wire.
func (f titusField) wire() protowire.Type {
	switch {
	case f.kind == "number" || f.kind == "bool" || titusEnums[f.kind] != nil:
		return protowire.VarintType
	case f.kind == "double":
		return protowire.Fixed64Type
	}
	return protowire.BytesType
}

// value reads one value, which is whole.
func (f titusField) value(data []byte) (any, error) {
	switch f.wire() {
	case protowire.VarintType:
		n, _ := protowire.ConsumeVarint(data)
		switch names := titusEnums[f.kind]; {
		case f.kind == "bool":
			return n != 0, nil
		case names == nil:
			return n, nil
		case n < uint64(len(names)):
			return names[n], nil
		}
		return nil, problem.New(problem.Invalid, "%s: there is no %d", f.name, n)
	case protowire.Fixed64Type:
		n, _ := protowire.ConsumeFixed64(data)
		v := math.Float64frombits(n)
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, problem.New(problem.Invalid, "%s: it is no number", f.name)
		}
		return v, nil
	}
	inner, _ := protowire.ConsumeBytes(data)
	switch f.kind {
	case "string":
		if !utf8.Valid(inner) {
			return nil, problem.New(problem.Invalid, "%s: it is not UTF-8", f.name)
		}
		return string(inner), nil
	case "map":
		return readPair(f.name, inner)
	}
	return readTitus(f.kind, inner)
}

// readPair reads an entry of a map.
func readPair(name string, data []byte) (any, error) {
	pair := map[string]any{"key": "", "value": ""}
	for len(data) > 0 {
		number, wire, n := protowire.ConsumeTag(data)
		if n < 0 {
			return nil, errTitusWire
		}
		size := protowire.ConsumeFieldValue(number, wire, data[n:])
		if size < 0 {
			return nil, errTitusWire
		}
		if (number == 1 || number == 2) && wire == protowire.BytesType {
			text, _ := protowire.ConsumeBytes(data[n : n+size])
			if !utf8.Valid(text) {
				return nil, problem.New(problem.Invalid, "%s: it is not UTF-8", name)
			}
			pair[map[protowire.Number]string{1: "key", 2: "value"}[number]] = string(text)
		}
		data = data[n+size:]
	}
	return pair, nil
}

// titusMessage turns what the REST API answers into a message. What Quire adds to
// Titus's has no number and is left out.
func titusMessage(message string, answer any) ([]byte, error) {
	data, err := json.Marshal(answer)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var value map[string]any
	if err := d.Decode(&value); err != nil {
		return nil, err
	}
	return writeTitus(nil, message, value)
}

func writeTitus(b []byte, message string, value map[string]any) ([]byte, error) {
	for _, f := range titusMessages()[message] {
		v, there := value[f.name]
		if !there || v == nil {
			continue
		}
		list := []any{v}
		if f.list {
			list, _ = v.([]any)
		}
		for _, one := range list {
			var err error
			if b, err = f.write(b, one); err != nil {
				return nil, fmt.Errorf("%s.%s: %w", message, f.name, err)
			}
		}
	}
	return b, nil
}

// write adds one value.
func (f titusField) write(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case bool:
		return protowire.AppendVarint(protowire.AppendTag(b, f.number, protowire.VarintType), protowire.EncodeBool(v)), nil
	case json.Number:
		return f.writeNumber(b, v.String())
	case string:
		if f.kind == "string" {
			return protowire.AppendString(protowire.AppendTag(b, f.number, protowire.BytesType), v), nil
		}
		if names := titusEnums[f.kind]; names != nil {
			n := max(slices.Index(names, v), 0)
			return protowire.AppendVarint(protowire.AppendTag(b, f.number, protowire.VarintType), uint64(n)), nil //nolint:gosec // it is not negative
		}
		return f.writeNumber(b, v) // as protobuf's JSON has large ones
	case map[string]any:
		if f.kind != "map" {
			inner, err := writeTitus(nil, f.kind, v)
			return protowire.AppendBytes(protowire.AppendTag(b, f.number, protowire.BytesType), inner), err
		}
		for key, value := range v {
			text, _ := value.(string)
			pair := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), key)
			pair = protowire.AppendString(protowire.AppendTag(pair, 2, protowire.BytesType), text)
			b = protowire.AppendBytes(protowire.AppendTag(b, f.number, protowire.BytesType), pair)
		}
		return b, nil
	}
	return b, nil
}

func (f titusField) writeNumber(b []byte, text string) ([]byte, error) {
	if f.kind == "double" {
		v, err := strconv.ParseFloat(text, 64)
		return protowire.AppendFixed64(protowire.AppendTag(b, f.number, protowire.Fixed64Type), math.Float64bits(v)), err
	}
	n, err := strconv.ParseUint(text, 10, 64)
	return protowire.AppendVarint(protowire.AppendTag(b, f.number, protowire.VarintType), n), err
}
