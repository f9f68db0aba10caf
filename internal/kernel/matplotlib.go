package kernel

import (
	"os"
	"path/filepath"
)

// matplotlibDir is the variable that names matplotlib's folder of settings and
// of its list of fonts.
const matplotlibDir = "MPLCONFIGDIR"

// ownMatplotlib reports whether the folder that a kernelspec names for matplotlib
// cannot be written to, as in a container: matplotlib would say so above the
// first plot and look through all fonts again. It then has to take its own
// default, where the lists of fonts are put if they are not there yet.
func ownMatplotlib(dir string) bool {
	probe, err := os.CreateTemp(dir, ".quire-*")
	if err == nil {
		_ = probe.Close()
		_ = os.Remove(probe.Name())
		return false
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return false // there is no better place
	}
	to := filepath.Join(cache, "matplotlib")
	if os.MkdirAll(to, 0o700) != nil {
		return false
	}
	lists, _ := filepath.Glob(filepath.Join(dir, "fontlist-*.json"))
	for _, list := range lists {
		copyOnce(list, filepath.Join(to, filepath.Base(list)))
	}
	return true
}

// copyOnce copies a file to where there is none. Without the copy matplotlib
// only starts more slowly.
func copyOnce(from, to string) {
	if _, err := os.Lstat(to); err == nil {
		return
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return
	}
	half, err := os.CreateTemp(filepath.Dir(to), ".quire-*")
	if err != nil {
		return
	}
	defer os.Remove(half.Name()) //nolint:errcheck // gone when it was renamed
	_, err = half.Write(data)
	if closed := half.Close(); err == nil && closed == nil {
		_ = os.Rename(half.Name(), to)
	}
}
