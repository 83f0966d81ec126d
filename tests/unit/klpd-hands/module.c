/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Not a program: compiled to object files that look like livepatch modules, for the reader of module files. What they say
 * of themselves comes from the command line of the compiler: -DMANAGED, -DPLAIN (both: a contradiction), -DEXTRA="...".
 */
#define STRINGIFY(x) #x
#define INFO(n, text) __attribute__((section(".modinfo"), used, aligned(1))) static const char info_##n[] = text

INFO(name, "name=klp_unit");
INFO(vermagic, "vermagic=6.1.0-47-amd64 SMP preempt mod_unload modversions ");
INFO(depends, "depends=klp_shim,ext4");
#ifndef NO_LIVEPATCH
INFO(livepatch, "livepatch=Y");
#endif
#ifndef NO_METADATA
INFO(vendor, "klp_vendor=acme");
INFO(stream, "klp_stream=base");
INFO(level, "klp_level=3");
INFO(cumulative, "klp_cumulative=Y");
INFO(state1, "klp_state=17:2:3:feature");
INFO(state2, "klp_state=0x20:1:0:");
INFO(func, "klp_func=vmlinux:ip_options_get,1");
INFO(fixes, "klp_fixes=CVE-2026-12345");
INFO(requires, "klp_requires=acme/base>=1");
INFO(summary, "klp_summary=Does things");
#endif
#ifdef EXTRA
INFO(extra, EXTRA);
#endif

__attribute__((section(".gnu.linkonce.this_module"), used)) static char this_module[64];

extern int klp_shim_register_patch(void *patch);
extern int klp_enable_patch(void *patch);

int init_module(void);
int init_module(void) {
        int r = 0;

#ifdef MANAGED
        r += klp_shim_register_patch(this_module);
#endif
#ifdef PLAIN
        r += klp_enable_patch(this_module);
#endif
        return r;
}
