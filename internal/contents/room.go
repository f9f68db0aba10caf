package contents

// Room says why nothing new is taken now, in words; nil while there is space.
func (v *Volume) Room() error {
	if v.cfg.Room == nil {
		return nil
	}
	return v.cfg.Room()
}
