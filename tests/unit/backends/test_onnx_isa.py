from gate.backends import isa


def test_x86_flags_are_reduced_to_what_selects_integer_kernels() -> None:
    text = (
        "processor\t: 0\nmodel name\t: Example CPU\n"
        "flags\t\t: fpu sse4_2 avx avx2 avx512f avx512dq avx512bw avx512vl avx512_vnni amx_int8\n"
        "processor\t: 1\nmodel name\t: Other\nflags\t: fpu\n"
    )
    assert isa.parse_cpuinfo(text) == ("Example CPU", ("amx_int8", "avx512", "avx512_vnni"))


def test_a_part_of_avx512_is_not_avx512() -> None:
    assert isa.collapse(["avx2", "avx512f", "avx512dq"]) == ("avx2",)


def test_arm_features_and_part_number() -> None:
    text = "Features\t: fp asimd asimddp i8mm sve\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n"
    model, flags = isa.parse_cpuinfo(text)
    assert model == "ARM 0x41/0xd08"
    assert flags == ("dotprod", "i8mm", "neon", "sve")


def test_macos_both_architectures() -> None:
    arm = "machdep.cpu.brand_string: Apple M2\nhw.optional.arm.FEAT_DotProd: 1\nhw.optional.AdvSIMD: 1\nhw.optional.arm.FEAT_I8MM: 0\n"
    intel = "machdep.cpu.features: FPU SSE4.2\nmachdep.cpu.leaf7_features: AVX2 AVX512F\n"
    assert isa.parse_sysctl(arm) == ("Apple M2", ("dotprod", "neon"))
    assert isa.parse_sysctl(intel)[1] == ("avx2",)


def test_this_machine_is_described() -> None:
    assert isa.system() in {"linux", "darwin", "windows"}
    assert isa.cpu_model()
    assert isa.isa() == tuple(sorted(isa.isa()))
    assert "arm64" not in isa.machine()


def test_what_a_stronger_set_covers_does_not_split_the_class() -> None:
    wide = ["avx2", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"]
    assert isa.collapse([*wide, "avx_vnni"]) == isa.collapse(wide) == ("avx512", "avx512_vnni")
    assert isa.collapse(["avx2", "avx_vnni"]) == ("avx2", "avx_vnni")
