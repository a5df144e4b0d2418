;; Reads beyond the end of its memory.
;; hook: on-close
;; expect: fails trapped
(func (export "hook") (param i32 i32) (drop (i32.load (i32.const 0x7ffffff0))))
