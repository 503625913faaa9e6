//! Every kernel of every case, checked without a GPU: it validates, its bindings are the operation's
//! operands, its overrides are the constants it is given, and it keeps within the device's limits.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::ops::Range;
use std::path::Path;

use naga::back::{PipelineConstants, pipeline_constants::process_overrides};
use naga::proc::Layouter;
use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{
    AddressSpace, ArraySize, Expression, Handle, Literal, Module, Scalar, ShaderStage, StorageAccess, Type,
    TypeInner,
};

use wgconv::device::{DeviceKind, DeviceProfile, MatrixUnits};
use wgconv::ops::add::Add;
use wgconv::ops::bias::BiasGrad;
use wgconv::ops::conv::{ConvForward, ConvGeometry, ConvGradFilters, ConvGradInput};
use wgconv::ops::halves::InHalves;
use wgconv::ops::kernel::{
    Binding, Constant, ENTRY_POINT, Implementation, KernelCall, MAX_WORKGROUPS_PER_AXIS, SliceSum,
    WORKGROUP_SIZE,
};
use wgconv::ops::optimizer::{Adam, Group, Optimizer, Sgd, Update, UpdateOptions};
use wgconv::ops::span::padded;
use wgconv::ops::window::{Padding, WindowOptions};
use wgconv::ops::{Access, Element, LateSum, Op, Operand, SumTable};
use wgconv::tensor::ImageShape;
use wgconv::verify::cases;

/// Buffers that every device lets a kernel bind.
const MAX_BINDINGS: usize = 8;

/// A kernel that serves every operation has its own names for its bindings. All other kernels must use the names of
/// operands.
const GENERIC: [(&str, &[&str]); 3] = [
    ("gemm/sum_slices.wgsl", &["slices", "result"]),
    ("gemm/sum_slices_side_by_side.wgsl", &["slices", "result"]),
    ("gemm/sum_slices_late.wgsl", &["slices", "table", "result"]),
];

/// Operands that parts of an operation know by other names, those that write them and those that read them.
const HANDED_ON: [(&str, [&str; 2]); 2] =
    [("convolved", ["output", "input"]), ("pooled", ["output", "activated"])];

/// The smallest possible device, a large one, a software rasteriser, which has kernels of its own, and a device that emulates
/// matrix units.
fn devices() -> [DeviceProfile; 4] {
    let portable = DeviceProfile::portable();
    let large = DeviceProfile {
        name: "large".into(),
        multiprocessors: Some(132),
        max_workgroup_bytes: 48 << 10,
        max_workgroup_invocations: 1024,
        max_buffer_bytes: 64 << 30,
        max_binding_bytes: (4 << 30) - 4,
        matrix_units: Some(MatrixUnits { lines: 16, lanes: 32, emulated: false }),
        min_subgroup_size: 32,
        ..DeviceProfile::portable()
    };
    let software = DeviceProfile {
        name: "software".into(),
        kind: DeviceKind::Software,
        min_subgroup_size: 8,
        max_loop_trips: Some(65_535),
        matrix_units: Some(MatrixUnits { lines: 8, lanes: 8, emulated: false }),
        ..portable.clone()
    };
    let emulating = DeviceProfile {
        name: "emulating".into(),
        min_subgroup_size: 32,
        matrix_units: Some(MatrixUnits { lines: 8, lanes: 32, emulated: true }),
        ..portable.clone()
    };
    [portable, large, software, emulating]
}

/// Checks all rules for an implementation; the error says which one is broken.
fn check(op: &dyn Op, implementation: &Implementation, device: &DeviceProfile) -> Result<(), String> {
    let operands = op.operands();
    let spans = op.side_by_side();
    for call in &implementation.calls {
        check_call(&operands, &spans, &implementation.workspace, call, device)
            .map_err(|error| format!("{}: {error}", call.source.name))?;
    }
    let bound = implementation.calls.iter().flat_map(|call| &call.bindings);
    let bound: HashSet<Binding> = bound
        .flat_map(|&binding| match binding {
            Binding::Span { first, last } => (first..=last).map(Binding::Operand).collect(),
            binding => vec![binding],
        })
        .collect();
    let operands = (0..operands.len()).map(Binding::Operand);
    let workspace = (0..implementation.workspace.len()).map(Binding::Workspace);
    match operands.chain(workspace).find(|binding| !bound.contains(binding)) {
        Some(binding) => Err(format!("no call binds {binding:?}")),
        None => Ok(()),
    }
}

fn check_call(
    operands: &[Operand],
    spans: &[Range<usize>],
    workspace: &[usize],
    call: &KernelCall,
    device: &DeviceProfile,
) -> Result<(), String> {
    let source = call.source.compose();
    let module = naga::front::wgsl::parse_str(&source).map_err(|error| error.emit_to_string(&source))?;
    let mut capabilities = match device.min_subgroup_size {
        0 => Capabilities::empty(),
        _ => Capabilities::SUBGROUP,
    };
    if !call.source.halves.is_empty() || call.source.enables.contains(&"f16") {
        capabilities |= Capabilities::SHADER_FLOAT16;
    }
    if call.source.enables.contains(&"wgpu_cooperative_matrix") {
        capabilities |= Capabilities::COOPERATIVE_MATRIX;
    }
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .map_err(|error| error.emit_to_string(&source))?;
    check_bindings(operands, spans, workspace, call, &module)?;
    check_spans(operands, spans, call, device)?;
    check_constants(call, &module)?;

    let constants: PipelineConstants = call
        .constants
        .iter()
        .map(|&(name, value)| match value {
            Constant::U32(value) => (name.to_owned(), f64::from(value)),
            Constant::F32(value) => (name.to_owned(), f64::from(value)),
        })
        .collect();
    let entry_point = Some((ShaderStage::Compute, ENTRY_POINT));
    let (module, _) =
        process_overrides(&module, &info, entry_point, &constants).map_err(|error| error.to_string())?;
    check_limits(call, &module, device)
}

/// Checks that spans are no larger than the device can bind, and that no operand is bound with two kinds of access.
fn check_spans(
    operands: &[Operand],
    spans: &[Range<usize>],
    call: &KernelCall,
    device: &DeviceProfile,
) -> Result<(), String> {
    for &binding in &call.bindings {
        match binding {
            Binding::Span { first, last } => {
                let elements: usize = elements_of(&operands[first..=last]);
                let (bytes, most) = (Element::Real.bytes(elements), device.largest_buffer());
                // A single tensor that is too large is refused when the plan is prepared.
                if first < last && bytes > most {
                    return Err(format!("a span of {bytes} bytes, expected at most {most}"));
                }
            }
            Binding::Operand(number) if spans.iter().any(|span| span.contains(&number)) => {
                return Err(format!("operand {number} lies in a span, and is bound alone"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Number of elements of a span of tensors that lie side by side.
fn elements_of(operands: &[Operand]) -> usize {
    operands.iter().map(|operand| padded(operand.shape.elements())).sum()
}

/// Checks that bindings are numbered from 0, and that each has its operand's name, element type and access.
fn check_bindings(
    operands: &[Operand],
    spans: &[Range<usize>],
    workspace: &[usize],
    call: &KernelCall,
    module: &Module,
) -> Result<(), String> {
    let mut declared = BTreeMap::new();
    for (_, variable) in module.global_variables.iter() {
        let name = variable.name.as_deref().unwrap_or("a variable without a name");
        if let Some(binding) = variable.binding {
            if binding.group != 0 {
                return Err(format!("{name} is in group {}, expected 0", binding.group));
            }
            declared.insert(binding.binding, (name, variable));
        }
    }
    if !declared.keys().copied().eq(0..call.bindings.len() as u32) {
        return Err(format!("expected bindings 0..{}, found {:?}", call.bindings.len(), declared.keys()));
    }
    if call.bindings.len() > MAX_BINDINGS {
        return Err(format!("expected at most {MAX_BINDINGS} bindings, found {}", call.bindings.len()));
    }
    let generic = GENERIC.iter().find(|(source, _)| *source == call.source.name).map(|(_, names)| *names);
    for (number, (name, variable)) in declared {
        let binding = call.bindings[number as usize];
        let element = match &module.types[variable.ty].inner {
            TypeInner::Array { base, size: ArraySize::Dynamic, .. } => element(module, *base),
            _ => None,
        };
        let writes = match variable.space {
            AddressSpace::Storage { access } if access == StorageAccess::LOAD => false,
            AddressSpace::Storage { access } if access == StorageAccess::LOAD | StorageAccess::STORE => true,
            space => return Err(format!("{name} is in {space:?}, expected storage")),
        };
        let (operand_name, expected_element, elements) = match binding {
            Binding::Operand(operand) => {
                let operand =
                    operands.get(operand).ok_or_else(|| format!("there is no operand {operand}"))?;
                let handed_on = HANDED_ON.iter().find(|(handed_on, _)| *handed_on == operand.name);
                let (known_as, is_written) = match handed_on {
                    Some((_, [written, read])) => (if writes { *written } else { *read }, writes),
                    None => (operand.name, operand.access.writes()),
                };
                if is_written != writes {
                    return Err(format!("{name} has writes: {writes}, expected {:?}", operand.access));
                }
                (Some(known_as), Some(operand.element), operand.shape.elements())
            }
            Binding::Span { first, last } => {
                if first > last || !spans.iter().any(|span| span.start <= first && last < span.end) {
                    return Err(format!("operands {first} to {last} need not lie side by side"));
                }
                let tensors = &operands[first..=last];
                let operand = &tensors[0];
                let alike = |other: &Operand| {
                    (other.name, other.element, other.access)
                        == (operand.name, operand.element, operand.access)
                };
                if !tensors.iter().all(alike) {
                    return Err(format!("operands {first} to {last} differ in name, elements or access"));
                }
                if operand.access.writes() != writes {
                    return Err(format!("{name} has writes: {writes}, expected {:?}", operand.access));
                }
                (Some(operand.name), Some(operand.element), elements_of(tensors))
            }
            Binding::Workspace(buffer) => {
                let elements =
                    workspace.get(buffer).ok_or_else(|| format!("there is no workspace {buffer}"))?;
                (None, None, *elements)
            }
        };
        let generic_name = generic.and_then(|names| names.get(number as usize).copied());
        let own_name = match binding {
            Binding::Operand(operand) => Some(operands[operand].name),
            _ => None,
        };
        let is_named = generic_name.is_none() && operand_name.is_none()
            || [generic_name, operand_name, own_name].contains(&Some(name));
        if !is_named {
            let expected = generic_name.or(operand_name).unwrap_or_default();
            return Err(format!("binding {number} is {name}, expected {expected}"));
        }
        // Scratch memory may hold any type of 32 bits that its kernels agree on.
        let scalars = match expected_element {
            Some(Element::Real) => vec![Scalar::F32],
            Some(Element::Half) => vec![Scalar { width: 2, ..Scalar::F32 }],
            Some(Element::Index | Element::Byte) => vec![Scalar::U32],
            None => vec![Scalar::F32, Scalar::U32],
        };
        let Some((_, width)) = element.filter(|(found, _)| scalars.contains(found)) else {
            return Err(format!("{name} has elements {element:?}, expected {expected_element:?}"));
        };
        if !elements.is_multiple_of(width) {
            return Err(format!("{name} is read {width} at a time, and has {elements} elements"));
        }
    }
    Ok(())
}

/// The scalar type, if the type is a scalar.
fn scalar(module: &Module, ty: Handle<Type>) -> Option<Scalar> {
    match module.types[ty].inner {
        TypeInner::Scalar(scalar) => Some(scalar),
        _ => None,
    }
}

/// The scalar type of an array's elements, and the number of scalars per element: one, or those of a vector or a structure.
fn element(module: &Module, ty: Handle<Type>) -> Option<(Scalar, usize)> {
    match module.types[ty].inner {
        TypeInner::Scalar(scalar) => Some((scalar, 1)),
        TypeInner::Vector { size, scalar } => Some((scalar, size as usize)),
        TypeInner::Struct { ref members, .. } => {
            let first = scalar(module, members.first()?.ty)?;
            let alike = members.iter().all(|member| scalar(module, member.ty) == Some(first));
            alike.then_some((first, members.len()))
        }
        _ => None,
    }
}

/// Checks that the overrides without a default are exactly the constants that are supplied, with the same types.
fn check_constants(call: &KernelCall, module: &Module) -> Result<(), String> {
    let declared: BTreeMap<&str, Option<Scalar>> = module
        .overrides
        .iter()
        .filter(|(_, constant)| constant.init.is_none())
        .map(|(_, constant)| (constant.name.as_deref().unwrap_or_default(), scalar(module, constant.ty)))
        .collect();
    let supplied: BTreeMap<&str, Option<Scalar>> = call
        .constants
        .iter()
        .map(|&(name, value)| match value {
            Constant::U32(_) => (name, Some(Scalar::U32)),
            Constant::F32(_) => (name, Some(Scalar::F32)),
        })
        .collect();
    if supplied.len() != call.constants.len() {
        return Err(format!("a constant is supplied twice: {:?}", call.constants));
    }
    for (name, scalar) in &declared {
        match supplied.get(name) {
            None => return Err(format!("override {name} is not supplied")),
            Some(found) if found != scalar => {
                return Err(format!("override {name} is {scalar:?}, supplied {found:?}"));
            }
            Some(_) => {}
        }
    }
    match supplied.keys().find(|name| !declared.contains_key(*name)) {
        Some(name) => Err(format!("constant {name} has no override without a default")),
        None => Ok(()),
    }
}

/// Checks that the workgroups, their invocations and their memory keep within the device's limits.
fn check_limits(call: &KernelCall, module: &Module, device: &DeviceProfile) -> Result<(), String> {
    if call.workgroups.iter().any(|count| !(1..=MAX_WORKGROUPS_PER_AXIS).contains(count)) {
        return Err(format!("{:?} workgroups do not fit an axis", call.workgroups));
    }
    let [entry_point] = module.entry_points.as_slice() else {
        return Err(format!("expected one entry point, found {}", module.entry_points.len()));
    };
    let invocations: u32 = entry_point.workgroup_size.iter().product();
    if invocations > device.max_workgroup_invocations {
        return Err(format!(
            "{invocations} invocations, expected at most {}",
            device.max_workgroup_invocations
        ));
    }
    let mut layouter = Layouter::default();
    layouter.update(module.to_ctx()).map_err(|error| error.to_string())?;
    let bytes: u32 = module
        .global_variables
        .iter()
        .filter(|(_, variable)| variable.space == AddressSpace::WorkGroup)
        .map(|(_, variable)| layouter[variable.ty].size.next_multiple_of(16))
        .sum();
    if bytes > device.max_workgroup_bytes {
        return Err(format!(
            "{bytes} bytes of workgroup memory, expected at most {}",
            device.max_workgroup_bytes
        ));
    }
    let workgroup_size = module
        .constants
        .iter()
        .find(|(_, constant)| constant.name.as_deref() == Some("WORKGROUP_SIZE"))
        .map(|(_, constant)| &module.global_expressions[constant.init]);
    match workgroup_size {
        Some(Expression::Literal(Literal::U32(size))) if *size != WORKGROUP_SIZE => {
            Err(format!("WORKGROUP_SIZE is {size}, expected {WORKGROUP_SIZE}"))
        }
        _ => Ok(()),
    }
}

/// Calls `visit` with every implementation of every case on every device.
fn for_each_implementation(mut visit: impl FnMut(&cases::Case, &DeviceProfile, &Implementation)) {
    for device in devices() {
        for case in cases::all() {
            let implementations = case.op.implementations(&device);
            assert!(!implementations.is_empty(), "{}, {}: no implementation", case.op.name(), case.name);
            for implementation in &implementations {
                visit(&case, &device, implementation);
            }
        }
    }
}

/// Every case, with its tensors as halves.
fn cases_in_halves() -> impl Iterator<Item = cases::Case> {
    cases::all().into_iter().map(|case| cases::Case { op: InHalves::wrap_all(case.op), ..case })
}

/// Files below `shaders/`, by their path from there.
fn shader_files() -> BTreeMap<String, String> {
    fn collect(folder: &Path, root: &Path, files: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).expect("a folder of shaders") {
            let path = entry.expect("a file of a folder").path();
            if path.is_dir() {
                collect(&path, root, files);
            } else {
                let name = path.strip_prefix(root).expect("a path below the root");
                let name = name.to_string_lossy().replace('\\', "/");
                files.insert(name, fs::read_to_string(&path).expect("a shader"));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let mut files = BTreeMap::new();
    collect(&root, &root, &mut files);
    files
}

/// Files that no composed kernel contains.
fn orphans<'a>(files: &'a BTreeMap<String, String>, used: &HashSet<String>) -> Vec<&'a str> {
    files.iter().filter(|(_, text)| !used.contains(*text)).map(|(name, _)| name.as_str()).collect()
}

#[test]
fn every_kernel_agrees_with_its_operation_and_its_device() {
    let mut failures = Vec::new();
    let mut judge = |case: &cases::Case, device: &DeviceProfile, implementation: &Implementation| {
        if let Err(error) = check(case.op.as_ref(), implementation, device) {
            let (op, case, way) = (case.op.name(), &case.name, implementation.name);
            failures.push(format!("{op}, {case}, {way} on {}: {error}", device.name));
        }
    };
    for_each_implementation(&mut judge);
    // Each program in one of its sizes.
    let mut seen = HashSet::new();
    for case in cases_in_halves() {
        for implementation in case.op.implementations(&devices()[1]) {
            let programs = implementation.calls.iter().map(|call| (&call.source.files, &call.source.halves));
            let programs: Vec<_> = programs.map(|(files, halves)| (files.clone(), halves.clone())).collect();
            if seen.insert(programs) {
                judge(&case, &devices()[1], &implementation);
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} failures, the first ones:\n{}",
        failures.len(),
        failures[..failures.len().min(5)].join("\n")
    );
}

/// Slices of two sums and the launch that adds them for an executor, which belongs to no operation.
fn late_sums(device: &DeviceProfile) -> (SumTable, KernelCall) {
    let mut table = SumTable::default();
    let sum = |elements, slices, lanes| SliceSum { call: 1, scratch: 0, result: 0, elements, slices, lanes };
    table.push(&sum(1000, 5, 1), 0, 64, device);
    table.push(&sum(10, 70, 32), 5056, 1088, device);
    let call = table.call(device);
    (table, call)
}

#[test]
fn the_launch_that_adds_the_sums_of_several_operations_keeps_to_the_rules() {
    for device in devices() {
        let (table, call) = late_sums(&device);
        let workspace = [5056 + 704, table.rows.len()];
        let check = |operand: Operand| check_call(&[operand], &[], &workspace, &call, &device);
        assert_eq!(check(Operand::write("result", [1152])), Ok(()));
        assert!(check(Operand::read("result", [1152])).unwrap_err().contains("expected Read"));
        let rows = table.rows.chunks_exact(table.rows.len() / call.workgroups[0] as usize);
        // Each workgroup begins where the one before it ends.
        let firsts: Vec<[u32; 2]> = rows.map(|row| [row[4], row[5]]).collect();
        let width = firsts[1][1] as usize;
        let expected = (0..1000).step_by(width).map(|first| [64, first as u32]);
        let of_second = (0..10).step_by(width / 32).map(|first| [1088, first as u32]);
        assert_eq!(firsts, expected.chain(of_second).collect::<Vec<_>>());
    }
}

/// An update of four tensors that adds the slices of the first and of the third one's gradient, by SGD, with averages and with
/// momentum.
fn updates_of_slices(device: &DeviceProfile) -> Vec<(Update, SumTable, KernelCall)> {
    let sum = |elements, slices, lanes| SliceSum { call: 1, scratch: 0, result: 0, elements, slices, lanes };
    let sums = [
        LateSum { operand: 4, first_slice: 0, sum: sum(1001, 5, 1) },
        LateSum { operand: 6, first_slice: 5056, sum: sum(10, 70, 32) },
    ];
    let sgd = |momentum| Optimizer::Sgd(Sgd { momentum, ..Sgd::default() });
    let of = |optimizer, averages| {
        let options = UpdateOptions { optimizer, averages, ..UpdateOptions::default() };
        let tensors = [1001, 3000, 10, 7].map(|elements| (Group::Weight, elements));
        let update = Update::new(options, tensors, 1).unwrap();
        let (implementation, table) = update.adding_slices(&sums, device)?;
        let [call] = <[KernelCall; 1]>::try_from(implementation.calls).unwrap();
        Some((update, table, call))
    };
    [of(sgd(0.0), false), of(sgd(0.0), true), of(sgd(0.9), false)].into_iter().flatten().collect()
}

/// Each value is updated by one invocation, which has its gradient.
#[test]
fn the_update_that_adds_sums_keeps_to_the_rules() {
    for device in devices() {
        let updates = updates_of_slices(&device);
        assert_eq!(updates.len(), 3, "{}", device.name);
        for (update, table, call) in updates {
            let workspace = [5056 + 704, table.rows.len()];
            let as_written = |operand: Operand| match operand.name {
                "gradient" => Operand { access: Access::ReadWrite, ..operand },
                _ => operand,
            };
            let operands: Vec<Operand> = update.operands().into_iter().map(as_written).collect();
            assert_eq!(check_call(&operands, &update.side_by_side(), &workspace, &call, &device), Ok(()));
            let error = check_call(&update.operands(), &update.side_by_side(), &workspace, &call, &device)
                .unwrap_err();
            assert!(error.contains("gradient has writes: true"), "{error}");

            let invocations = call.source.sizes.iter().find(|size| size.0 == "INVOCATIONS").unwrap().1;
            let mut updated = vec![0; 4352];
            for row in table.rows.chunks_exact(6) {
                let &[_, elements, count, lanes, first_result, first] = row else {
                    unreachable!("six numbers")
                };
                let quads = if count > 0 { invocations / lanes / 4 } else { invocations };
                for value in (first..first + 4 * quads).filter(|&value| value < elements) {
                    updated[(first_result + value) as usize] += 1;
                }
            }
            let is_of_a_tensor = |place: usize| {
                [0..1001, 1024..4024, 4032..4042, 4096..4103].iter().any(|all| all.contains(&place))
            };
            for (place, &times) in updated.iter().enumerate() {
                assert_eq!(times, usize::from(is_of_a_tensor(place)), "value {place} on {}", device.name);
            }
        }
    }
}

/// Sums wait for a launch of their own where parameters lie in several spans, where gradients are clipped, where there would
/// be too many bindings, and where a workgroup adds less than four values.
#[test]
fn an_update_adds_sums_only_where_it_can() {
    let device = &devices()[1];
    let sum = SliceSum { call: 1, scratch: 0, result: 0, elements: 100, slices: 70, lanes: 32 };
    let sums = [LateSum { operand: 2, first_slice: 0, sum }];
    let adds = |options: UpdateOptions, sums: &[LateSum], device: &DeviceProfile| {
        let update = Update::new(options, [(Group::Weight, 100), (Group::Bias, 10)], 1).unwrap();
        update.adding_slices(sums, device).is_some()
    };
    let plain = UpdateOptions::default();
    assert!(adds(plain, &sums, device));
    let small = DeviceProfile { max_binding_bytes: 512, ..device.clone() };
    assert!(!adds(plain, &sums, &small), "two spans");
    assert!(!adds(UpdateOptions { clip_norm: Some(1.0), ..plain }, &sums, device), "clipped");
    let momentum = Optimizer::Sgd(Sgd { momentum: 0.9, ..Sgd::default() });
    let momentum = UpdateOptions { optimizer: momentum, ..plain };
    assert!(adds(momentum, &sums, device));
    assert!(!adds(UpdateOptions { averages: true, ..momentum }, &sums, device), "nine bindings");
    let adam = UpdateOptions { optimizer: Optimizer::Adam(Adam::default()), ..plain };
    assert!(!adds(adam, &sums, device), "nine bindings");
    let narrow = DeviceProfile { max_workgroup_invocations: 64, ..device.clone() };
    assert!(!adds(plain, &sums, &narrow), "two values of a workgroup");
    assert!(!adds(plain, &[LateSum { operand: 0, ..sums[0] }], device), "a parameter");
}

#[test]
fn every_shader_is_used_by_a_case() {
    let mut used = HashSet::new();
    for_each_implementation(|_, _, implementation| {
        let sources = implementation.calls.iter().map(|call| &call.source);
        used.extend(sources.flat_map(|source| &source.files).map(|text| text.to_string()));
    });
    let device = DeviceProfile::portable();
    let of_updates = updates_of_slices(&device).into_iter().map(|(_, _, call)| call);
    for call in of_updates.chain([late_sums(&device).1]) {
        used.extend(call.source.files.iter().map(|text| text.to_string()));
    }
    let mut files = shader_files();
    assert_eq!(orphans(&files, &used), Vec::<&str>::new());
    files.insert("forgotten.wgsl".into(), "// A kernel that is never launched.".into());
    assert_eq!(orphans(&files, &used), ["forgotten.wgsl"]);
}

/// Some drivers reset a device that works on one launch for seconds: whatever has more than one workgroup can be cut.
#[test]
fn every_kernel_of_several_workgroups_can_be_cut_into_pieces() {
    for_each_implementation(|case, _, implementation| {
        for call in &implementation.calls {
            let what = format!("{case}, {}: {}", implementation.name, call.source.name);
            let workgroups: u32 = call.workgroups.iter().product();
            assert_eq!(call.workgroups[2], 1, "{what}: workgroups are counted through");
            if workgroups == 1 {
                continue;
            }
            let pieces = call.clone().in_pieces(2);
            assert!(pieces.len() >= 2, "{what} cannot be cut");
            let done: u32 = pieces.iter().flat_map(|piece| &piece.workgroups[..1]).sum();
            assert_eq!(done, workgroups, "{what}");
            let numbers = ["workgroup_number", "global_index", "first_index"]
                .map(|name| format!("{name}(workgroup, workgroups"));
            let files = call.source.files.iter().filter(|text| !text.contains("fn workgroup_number"));
            let uses = files.filter(|text| numbers.iter().any(|number| text.contains(number))).count();
            assert!(uses > 0, "{what} does not number its workgroups");
        }
    });
    for (name, text) in shader_files().into_iter().filter(|(name, _)| name != "grid.wgsl") {
        let found = ["workgroup.x", "workgroup.y", "workgroup.z"].into_iter().find(|own| text.contains(own));
        assert_eq!(found, None, "{name} numbers its workgroups by itself");
    }
}

#[test]
fn every_path_that_a_shader_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, text) in shader_files() {
        for word in text.split([' ', ',', ';', '(', ')', '\n']) {
            let path = word.trim_end_matches('.');
            let below = if path.starts_with("src/") { root.to_path_buf() } else { root.join("shaders") };
            if path.ends_with(".rs") || path.ends_with(".wgsl") {
                assert!(below.join(path).exists(), "{name} names {path}");
            }
        }
    }
}

/// Checks a changed kernel of `op`'s first implementation on the portable device.
fn check_changed(op: &dyn Op, change: impl FnOnce(&mut KernelCall)) -> Result<(), String> {
    let device = DeviceProfile::portable();
    let mut implementation = op.implementations(&device).remove(0);
    change(implementation.calls.last_mut().expect("a kernel call"));
    check(op, &implementation, &device)
}

/// Replaces `from` by `to` in every file of a kernel.
fn replace(call: &mut KernelCall, from: &str, to: &str) {
    assert!(call.source.compose().contains(from), "{from} is in {}", call.source.name);
    for file in &mut call.source.files {
        *file = file.replace(from, to).leak();
    }
}

#[test]
fn every_kind_of_disagreement_is_reported() {
    let add = Add { elements: 102 };
    assert_eq!(check_changed(&add, |_| ()), Ok(()));
    type Change = fn(&mut KernelCall);
    let changes: [(&str, Change); 18] = [
        ("binding 0 is other, expected a", |call| {
            replace(call, "> a: ", "> other: ");
            replace(call, "= a[index]", "= other[index]");
        }),
        ("binding 0 is b, expected a", |call| {
            replace(call, "@binding(0)", "@binding(9)");
            replace(call, "@binding(1)", "@binding(0)");
            replace(call, "@binding(9)", "@binding(1)");
        }),
        ("expected bindings 0..3", |call| replace(call, "@binding(2)", "@binding(3)")),
        ("conflict with other resource", |call| replace(call, "@binding(2)", "@binding(1)")),
        ("is in group 1", |call| replace(call, "@group(0) @binding(2)", "@group(1) @binding(2)")),
        ("a has writes: true, expected Read", |call| replace(call, "read> a:", "read_write> a:")),
        ("a is in Uniform", |call| {
            replace(call, "var<storage, read> a: array<f32>", "var<uniform> a: array<vec4<f32>, 26>");
            replace(call, "a[index]", "a[index / 4u].x");
        }),
        ("b has elements", |call| {
            replace(call, "b: array<f32>", "b: array<u32>");
            replace(call, "b[index]", "f32(b[index])");
        }),
        ("a is read 4 at a time, and has 102 elements", |call| {
            replace(call, "a: array<f32>", "a: array<vec4<f32>>");
            replace(call, "a[index]", "a[index / 4u].x");
        }),
        ("override ELEMENTS is not supplied", |call| call.constants.clear()),
        ("constant MORE has no override", |call| call.constants.push(("MORE", 1u32.into()))),
        ("constant GIVEN has no override", |call| {
            replace(call, "override ELEMENTS: u32;", "override ELEMENTS: u32; override GIVEN: u32 = 1u;");
            call.constants.push(("GIVEN", 1u32.into()));
        }),
        ("override ELEMENTS is Some(Scalar { kind: Uint", |call| call.constants[0].1 = 100.0f32.into()),
        ("supplied twice", |call| call.constants.push(("ELEMENTS", 1u32.into()))),
        ("no operand 3", |call| call.bindings[0] = Binding::Operand(3)),
        ("no workspace 0", |call| call.bindings[0] = Binding::Workspace(0)),
        ("workgroups do not fit", |call| call.workgroups[0] = 65_536),
        ("WORKGROUP_SIZE is 32", |call| {
            replace(call, "WORKGROUP_SIZE: u32 = 64u", "WORKGROUP_SIZE: u32 = 32u")
        }),
    ];
    for (expected, change) in changes {
        let error = check_changed(&add, change).expect_err(expected);
        assert!(error.contains(expected), "expected {expected:?}, found {error:?}");
    }
}

#[test]
fn wrong_spans_are_reported() {
    let groups = [(Group::Weight, 3), (Group::Weight, 70), (Group::Bias, 1)];
    let op = Update::new(UpdateOptions::default(), groups, 1).unwrap();
    assert_eq!(check_changed(&op, |_| ()), Ok(()));
    type Change = fn(&mut KernelCall);
    let changes: [(&str, Change); 6] = [
        ("need not lie side by side", |call| call.bindings[0] = Binding::Span { first: 0, last: 3 }),
        ("need not lie side by side", |call| call.bindings[0] = Binding::Span { first: 6, last: 6 }),
        ("lies in a span, and is bound alone", |call| {
            call.bindings[0] = Binding::Operand(2);
            replace(call, "parameter: array<vec4<f32>>", "parameter: array<f32>");
            replace(call, "before = parameter[index]", "before = vec4(parameter[index])");
            replace(call, "= averaged(index, after, more);", "= averaged(index, after, more).x;");
        }),
        ("parameter has writes: true, expected Read", |call| call.bindings.swap(0, 1)),
        ("no call binds Operand(0)", |call| call.bindings[0] = Binding::Span { first: 1, last: 2 }),
        ("binding 1 is grads, expected gradient", |call| {
            replace(call, "read> gradient:", "read> grads:");
            replace(call, "gradient[index]", "grads[index]");
        }),
    ];
    for (expected, change) in changes {
        let error = check_changed(&op, change).expect_err(expected);
        assert!(error.contains(expected), "expected {expected:?}, found {error:?}");
    }
    let device = DeviceProfile { max_binding_bytes: 512, ..DeviceProfile::portable() };
    let whole = op.implementations(&DeviceProfile::portable()).remove(0);
    assert!(check(&op, &whole, &device).unwrap_err().contains("a span of 1024 bytes, expected at most 512"));
    assert_eq!(check(&op, &op.implementations(&device)[0], &device), Ok(()));
}

#[test]
fn limits_of_a_device_are_checked() {
    let op = BiasGrad::new(1000, 300);
    let implementation = op.implementations(&DeviceProfile::portable()).remove(0);
    let few = DeviceProfile { max_workgroup_invocations: 128, ..DeviceProfile::portable() };
    assert!(check(&op, &implementation, &few).unwrap_err().contains("256 invocations"));
    let small = DeviceProfile { max_workgroup_bytes: 1023, ..DeviceProfile::portable() };
    assert!(check(&op, &implementation, &small).unwrap_err().contains("1024 bytes"));
}

#[test]
fn a_generic_kernel_is_excused_by_name_alone() {
    let op = BiasGrad::new(10_000, 3);
    assert_eq!(check_changed(&op, |_| ()), Ok(()));
    let error = check_changed(&op, |call| call.source.name = "another.wgsl").unwrap_err();
    assert!(error.contains("binding 1 is result, expected grad_bias"), "{error}");
    let error = check_changed(&op, |call| {
        replace(call, "> slices", "> parts");
        replace(call, "slices[place", "parts[place");
    })
    .unwrap_err();
    assert!(error.contains("binding 0 is parts, expected slices"), "{error}");
}

/// Kernels use 32-bit indices, however large the buffers are that a device can bind.
#[test]
fn scratch_memory_stays_within_reach_of_32_bit_indices() {
    let device = DeviceProfile {
        kind: DeviceKind::DiscreteGpu,
        max_buffer_bytes: 64 << 30,
        max_binding_bytes: 64 << 30,
        multiprocessors: Some(132),
        ..DeviceProfile::portable()
    };
    let mut most = 0;
    // batch, height and width, channels, filters, kernel
    for [batch, side, channels, filters, kernel] in [
        [1, 224, 4096, 4096, 11],
        [1, 512, 2048, 2048, 16],
        [64, 512, 64, 64, 3],
        [2, 1024, 512, 512, 3],
        [1, 4000, 4, 64, 7],
        [512, 200, 100, 100, 1],
    ] {
        let image = ImageShape { height: side, width: side, channels };
        let padding = Padding::Same;
        let window = WindowOptions { padding, ..WindowOptions::new([kernel; 2]) };
        let geometry = ConvGeometry::new(batch, image, filters, 1, &window).unwrap();
        let ops: [Box<dyn Op>; 3] = [
            Box::new(ConvForward::new(geometry)),
            Box::new(ConvGradFilters::new(geometry)),
            Box::new(ConvGradInput::new(geometry)),
        ];
        for op in ops {
            for implementation in op.implementations(&device) {
                for elements in implementation.workspace {
                    let name = implementation.name;
                    assert!(elements <= u32::MAX as usize, "{op:?}, {name}: {elements} elements");
                    most = most.max(elements);
                }
            }
        }
    }
    assert!(most > i32::MAX as usize, "none of these comes near the limit: {most}");
}
